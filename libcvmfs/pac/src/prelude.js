// The functions of the PAC convention that need no help from outside.
"use strict";
(function (global) {
  const days = ["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"];
  const months = ["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"];

  function now() {
    return __now === undefined || __now === null ? new Date() : new Date(__now);
  }

  // The parts of the present, in GMT when the last argument asks for it, and the other arguments.
  function present(args) {
    const given = Array.from(args);
    const gmt = given[given.length - 1] === "GMT";
    if (gmt) given.pop();
    const date = now();
    const part = (name) => (gmt ? date["getUTC" + name]() : date["get" + name]());
    return { given, part };
  }

  // A range that may go over the end: FRI to MON, 22 to 6.
  function between(from, value, to) {
    return from <= to ? from <= value && value <= to : from <= value || value <= to;
  }

  const isAddress = (text) => /^\d{1,3}(\.\d{1,3}){3}$/.test(text);
  const toNumber = (address) => address.split(".").reduce((sum, part) => ((sum << 8) | (part & 255)) >>> 0, 0);

  global.isPlainHostName = (host) => host.indexOf(".") < 0;
  global.dnsDomainIs = (host, domain) => host.length >= domain.length && host.endsWith(domain);
  global.localHostOrDomainIs = (host, name) => host === name || (host.indexOf(".") < 0 && name.startsWith(host + "."));
  global.isResolvable = (host) => dnsResolve(host) != null;
  global.dnsDomainLevels = (host) => host.split(".").length - 1;
  global.alert = () => undefined;

  const resolve = global.dnsResolve;
  global.dnsResolve = (host) => {
    const address = isAddress(host) ? host : resolve(String(host));
    return address === undefined ? null : address;
  };

  global.isInNet = (host, pattern, mask) => {
    const address = global.dnsResolve(host);
    if (address === null || !isAddress(address)) return false;
    const bits = toNumber(mask);
    return (toNumber(address) & bits) === (toNumber(pattern) & bits);
  };

  global.shExpMatch = (text, pattern) => {
    const source = pattern.replace(/[.+^${}()|[\]\\]/g, "\\$&").replace(/\*/g, ".*").replace(/\?/g, ".");
    return new RegExp("^" + source + "$", "s").test(text);
  };

  global.weekdayRange = function () {
    const { given, part } = present(arguments);
    const [from, to = from] = given.map((name) => days.indexOf(name));
    return from >= 0 && to >= 0 && between(from, part("Day"), to);
  };

  // Days are 1 to 31, months have names, everything larger is a year.
  global.dateRange = function () {
    const { given, part } = present(arguments);
    const unit = (value) => (typeof value === "string" ? "month" : value > 31 ? "year" : "day");
    const today = { year: part("FullYear"), month: part("Month"), day: part("Date") };
    const value = (v) => (typeof v === "string" ? months.indexOf(v) : v);
    const single = new Set(given.map(unit)).size === given.length;
    const half = single ? given.length : given.length / 2;
    const from = given.slice(0, half);
    const to = single ? from : given.slice(half);
    const order = ["year", "month", "day"].filter((u) => from.some((v) => unit(v) === u));
    const key = (pick) => order.reduce((sum, u) => sum * 100 + pick(u), 0);
    const of = (side) => key((u) => value(side.find((v) => unit(v) === u)));
    return between(of(from), key((u) => today[u]), of(to));
  };

  // Hours alone last until the next hour given; minutes and seconds are included.
  global.timeRange = function () {
    const { given, part } = present(arguments);
    const time = part("Hours") * 3600 + part("Minutes") * 60 + part("Seconds");
    const seconds = (h, m, s) => h * 3600 + m * 60 + s;
    switch (given.length) {
      case 1:
        return part("Hours") === given[0];
      case 2:
        return between(seconds(given[0], 0, 0), time, (seconds(given[1], 0, 0) + 86399) % 86400);
      case 4:
        return between(seconds(given[0], given[1], 0), time, seconds(given[2], given[3], 59));
      case 6:
        return between(seconds(given[0], given[1], given[2]), time, seconds(given[3], given[4], given[5]));
      default:
        return false;
    }
  };
})(globalThis);
