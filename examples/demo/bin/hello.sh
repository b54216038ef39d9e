#!/bin/sh
# Prints a greeting.
echo "Hello, ${1:-world}, from demo.example.org!"
