"""Answers questions for the order of servers, from a list of networks. Shares no code with what it is compared with.

Reads {"networks": [[network, latitude or null, longitude]], "questions": [[callers, hosts, proxies or null]]} and writes the
permutations, counted from 1. A name is an address; the first caller that is somewhere counts.
"""
import ipaddress
import json
import math
import sys

given = json.load(sys.stdin)
networks = [(ipaddress.ip_network(network), latitude, longitude) for network, latitude, longitude in given["networks"]]


def place(text):
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    for network, latitude, longitude in networks:
        if address in network:
            return None if latitude is None else vector(latitude, longitude)
    return None


def vector(latitude, longitude):
    a, b = math.radians(latitude), math.radians(longitude)
    return math.cos(a) * math.cos(b), math.cos(a) * math.sin(b), math.sin(a)


def by_distance(origin, names):
    def key(index):
        there = place(names[index])
        # The straight line through the earth grows with the way around it.
        return math.inf if origin is None or there is None else math.dist(origin, there)
    return sorted(range(len(names)), key=key)


answers = []
for callers, hosts, proxies in given["questions"]:
    origin = next((found for found in map(place, callers) if found), None)
    order = by_distance(origin, hosts)
    if proxies is not None:
        nearest = by_distance(origin, proxies)
        beside = place(proxies[nearest[0]]) if nearest else None
        order = by_distance(beside or origin, hosts)
        order += [len(hosts) + 1 + index for index in nearest] + [len(hosts)]
    answers.append([index + 1 for index in order])
json.dump(answers, sys.stdout)
