//! Turns the moment a run starts into its name, `YYYYMMDDTHHMMSSZ-xxxx`.
//!
//! Names sort in the order of the runs, whatever the clock does: which of two rows for an image is
//! the newer one is decided by this order alone.

use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, NaiveDateTime, TimeDelta, Utc};

const LENGTH: usize = "YYYYMMDDTHHMMSSZ-xxxx".len();
const MOMENT: usize = "YYYYMMDDTHHMMSSZ".len();
const FORMAT: &str = "%Y%m%dT%H%M%SZ";

/// The name of a run; a later run's name is the greater one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RunId([u8; LENGTH]);

/// A text that is not `YYYYMMDDTHHMMSSZ-xxxx`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a run id: YYYYMMDDTHHMMSSZ-xxxx")]
pub struct NotARunId(pub String);

impl RunId {
    /// No name sorts after this one.
    pub const LAST: RunId = RunId(*b"99991231T235959Z-ffff");

    /// The name of a run that starts at `now`, after the run `last`. Two runs in one second, or a
    /// clock set back, give a name one second after the last. `random` tells apart the names of runs
    /// that do not know of each other. `None` past the year 9999.
    pub fn after(now: DateTime<Utc>, random: u16, last: Option<RunId>) -> Option<Self> {
        let earliest = match last {
            Some(last) => Some(last.moment()?.checked_add_signed(TimeDelta::seconds(1))?),
            None => None,
        };
        let moment = earliest.map_or(now, |earliest| earliest.max(now));
        format!("{}-{random:04x}", moment.format(FORMAT))
            .parse()
            .ok()
    }

    /// The second in the name: when the run started, or a little later than the run before it.
    pub fn moment(&self) -> Option<DateTime<Utc>> {
        let text = str::from_utf8(&self.0[..MOMENT]).ok()?;
        NaiveDateTime::parse_from_str(text, FORMAT)
            .ok()
            .map(|moment| moment.and_utc())
    }

    pub fn as_str(&self) -> &str {
        str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl FromStr for RunId {
    type Err = NotARunId;

    fn from_str(text: &str) -> Result<Self, NotARunId> {
        let shaped = text.len() == LENGTH
            && text.bytes().enumerate().all(|(at, byte)| match at {
                8 => byte == b'T',
                15 => byte == b'Z',
                16 => byte == b'-',
                17.. => matches!(byte, b'0'..=b'9' | b'a'..=b'f'),
                _ => byte.is_ascii_digit(),
            });
        match text.as_bytes().try_into().map(RunId) {
            Ok(id) if shaped && id.moment().is_some() => Ok(id),
            _ => Err(NotARunId(text.to_owned())),
        }
    }
}

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RunId({self})")
    }
}

impl serde::Serialize for RunId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> serde::Deserialize<'de> for RunId {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(seconds, 0).unwrap()
    }

    #[test]
    fn reads_as_a_moment() {
        let id = RunId::after(at(1_700_000_000), 0x0a1f, None).unwrap();
        assert_eq!(id.to_string(), "20231114T221320Z-0a1f");
        assert_eq!("20231114T221320Z-0a1f".parse(), Ok(id));
    }

    #[test]
    fn refuses_what_is_no_run_id() {
        for text in [
            "",
            "20231114T221320Z",
            "20231114T221320Z-0A1F",
            "20231314T221320Z-0a1f",
            "20231114T221320Z-0a1f ",
            "2023111éT21320Z-0a1f",
        ] {
            assert!(text.parse::<RunId>().is_err(), "{text}");
        }
    }

    #[test]
    fn ends_with_the_year_9999() {
        let last = "99991231T235959Z-0000".parse().unwrap();
        assert_eq!(RunId::after(at(0), 0, Some(last)), None);
    }

    proptest! {
        #[test]
        fn sorts_after_the_last_whatever_the_clock_says(
            clocks in prop::collection::vec((0i64..4_000_000_000, any::<u16>()), 1..20),
        ) {
            let mut last = None;
            for (seconds, random) in clocks {
                let id = RunId::after(at(seconds), random, last).unwrap();
                prop_assert!(last.is_none_or(|last| id > last));
                prop_assert_eq!(id.to_string().parse(), Ok(id));
                last = Some(id);
            }
        }
    }
}
