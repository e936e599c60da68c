//! Turns a run into the transaction that says that it is published, and back.

use chrono::{DateTime, NaiveDateTime, Utc};
use deltalake::kernel::Transaction;

use crate::table::RunId;

/// The application whose transactions name runs.
pub const APPLICATION: &str = "showtell";

/// The transaction that says that the rows of `run_id`, and of all runs before, are there.
pub fn transaction_of(run_id: &RunId) -> Transaction {
    Transaction::new(APPLICATION, version_of(run_id))
}

/// The run as a number, later runs being greater: its seconds since 1970, then its 16 random bits.
fn version_of(run_id: &RunId) -> i64 {
    let text = run_id.as_str();
    let (moment, random) = text.split_once('-').unwrap_or((text, "0"));
    let moment = NaiveDateTime::parse_from_str(moment, FORMAT).unwrap_or_default();
    let random = i64::from_str_radix(random, 16).unwrap_or_default();
    (moment.and_utc().timestamp() << 16) | random
}

const FORMAT: &str = "%Y%m%dT%H%M%SZ";

/// The run that [`version_of`] made a number of.
pub fn run_of(version: i64) -> Option<RunId> {
    let moment: DateTime<Utc> = DateTime::from_timestamp(version >> 16, 0)?;
    let random = version & 0xffff;
    format!("{}-{random:04x}", moment.format(FORMAT))
        .parse()
        .ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn runs_are_numbered_in_their_order(
            one in (0i64..253_402_300_799, any::<u16>()),
            other in (0i64..253_402_300_799, any::<u16>()),
        ) {
            let run = |(seconds, random)| {
                RunId::after(DateTime::from_timestamp(seconds, 0).unwrap(), random, None).unwrap()
            };
            let (one, other) = (run(one), run(other));
            prop_assert_eq!(run_of(version_of(&one)), Some(one));
            prop_assert_eq!(version_of(&one).cmp(&version_of(&other)), one.cmp(&other));
        }
    }

    #[test]
    fn numbers_of_others_are_no_runs() {
        assert_eq!(run_of(i64::MAX), None);
        assert_eq!(run_of(i64::MIN), None);
    }
}
