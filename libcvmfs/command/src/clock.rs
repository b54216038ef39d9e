//! Times as the tools of coreutils write them.

use crate::tree::Time;
use jiff::{Timestamp, Zoned, tz::TimeZone};

/// Half an average Gregorian year: older times are written with the year instead of the hour.
const RECENT_SECONDS: i64 = 31_556_952 / 2;

/// The time zone and the present, fixed for one run so that all lines agree.
#[derive(Debug, Clone)]
pub struct Clock {
    now: Time,
    zone: TimeZone,
}

impl Clock {
    /// The present in the zone of the environment.
    pub fn system() -> Clock {
        Clock { now: time_of(Timestamp::now()), zone: TimeZone::system() }
    }

    /// `Nov 21 12:30` or, older than half a year or in the future, `Nov 21  2025`.
    pub fn short(&self, time: Time) -> String {
        let half_a_year_ago = Time { seconds: self.now.seconds - RECENT_SECONDS, ..self.now };
        let recent = half_a_year_ago < time && time < self.now;
        self.format(time, if recent { "%b %e %H:%M" } else { "%b %e  %Y" })
    }

    /// The same by the rule of `find -ls`: half a year of six months of 30 days, and an hour into the future.
    pub fn short_for_find(&self, time: Time) -> String {
        let recent = self.now.seconds - 6 * 30 * 86_400 <= time.seconds && time.seconds <= self.now.seconds + 3600;
        self.format(time, if recent { "%b %e %H:%M" } else { "%b %e  %Y" })
    }

    /// `2026-11-21 12:30:01.000000000 +0000`.
    pub fn full(&self, time: Time) -> String {
        self.format(time, "%Y-%m-%d %H:%M:%S.%9f %z")
    }

    /// `2026-11-21 12:30:01`.
    pub fn second(&self, time: Time) -> String {
        self.format(time, "%Y-%m-%d %H:%M:%S")
    }

    fn format(&self, time: Time, pattern: &str) -> String {
        match self.zoned(time) {
            Some(zoned) => zoned.strftime(pattern).to_string(),
            // Beyond the calendar: what coreutils does too.
            None => time.seconds.to_string(),
        }
    }

    fn zoned(&self, time: Time) -> Option<Zoned> {
        // Seconds and nanoseconds of a time before 1970 have different signs, which the constructor refuses.
        let whole = Timestamp::new(time.seconds, 0).ok()?;
        let exact = whole.checked_add(jiff::SignedDuration::from_nanos(i64::from(time.nanoseconds))).ok()?;
        Some(exact.to_zoned(self.zone.clone()))
    }
}

fn time_of(timestamp: Timestamp) -> Time {
    let nanoseconds = timestamp.as_nanosecond();
    Time {
        seconds: nanoseconds.div_euclid(1_000_000_000) as i64,
        nanoseconds: nanoseconds.rem_euclid(1_000_000_000) as u32,
    }
}
