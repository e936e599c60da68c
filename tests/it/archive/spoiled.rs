//! Files with faults at random: whatever is in them, decoding ends and says what it found.

use proptest::prelude::*;
use showtell::archive::{Limits, Stage, decode, dimensions, quiet_panics};

use super::{cases, load_golden, loaded};
use crate::broken::Golden;

/// One fault in a file: where, as a fraction of its length, and what.
#[derive(Debug, Clone)]
enum Fault {
    Set(f64, u8),
    Fill(f64, usize, u8),
    Insert(f64, Vec<u8>),
    Remove(f64, usize),
    Truncate(f64),
}

fn any_fault() -> impl Strategy<Value = Fault> {
    // Most of what decides how a file is read stands at its beginning.
    let place = || prop_oneof![0.0..1.0, 0.0..0.1f64];
    prop_oneof![
        6 => (place(), prop_oneof![any::<u8>(), Just(0), Just(0xFF)]).prop_map(|(at, byte)| Fault::Set(at, byte)),
        2 => (place(), 1..20usize, any::<u8>()).prop_map(|(at, length, byte)| Fault::Fill(at, length, byte)),
        1 => (place(), prop::collection::vec(any::<u8>(), 1..20)).prop_map(|(at, bytes)| Fault::Insert(at, bytes)),
        1 => (place(), 1..40usize).prop_map(|(at, length)| Fault::Remove(at, length)),
        1 => (0.0..1.0).prop_map(Fault::Truncate),
    ]
}

fn spoil(bytes: &mut Vec<u8>, fault: &Fault) {
    let length = bytes.len();
    let place = |at: &f64| ((at * length as f64) as usize).min(length);
    match fault {
        Fault::Set(at, byte) => {
            if let Some(place) = bytes.get_mut(place(at)) {
                *place = *byte;
            }
        }
        Fault::Fill(at, count, byte) => {
            let at = place(at);
            bytes[at..(at + count).min(length)].fill(*byte);
        }
        Fault::Insert(at, new) => {
            let at = place(at);
            bytes.splice(at..at, new.iter().copied());
        }
        Fault::Remove(at, count) => {
            let at = place(at);
            bytes.drain(at..(at + count).min(length));
        }
        Fault::Truncate(at) => bytes.truncate(place(at)),
    }
}

proptest! {
    #![proptest_config(cases(4000))]

    #[test]
    fn whatever_is_in_a_file_the_outcome_is_a_picture_or_a_reason(
        file in any::<prop::sample::Index>(),
        faults in prop::collection::vec(any_fault(), 1..5),
    ) {
        quiet_panics();
        let golden = Golden::all();
        let golden = &golden[file.index(golden.len())];
        let format = load_golden(&golden.file).format;
        let mut bytes = golden.bytes();
        for fault in &faults {
            spoil(&mut bytes, fault);
        }
        let limits = Limits {
            max_pixels: 1_000_000,
            max_memory: 64 << 20,
            ..Limits::default()
        };
        let spoiled = loaded(bytes, format);
        match decode(&spoiled, &limits) {
            Ok(picture) => {
                let pixels = u64::from(picture.width) * u64::from(picture.height);
                prop_assert!(pixels > 0 && pixels <= limits.max_pixels);
                prop_assert_eq!(picture.rgb.len() as u64, pixels * 3);
                prop_assert_eq!(dimensions(&spoiled), Ok((picture.width, picture.height)));
            }
            Err(failure) => {
                prop_assert_eq!(failure.stage, Stage::Decode);
                prop_assert!(failure.reason.len() > 20, "{}", failure.reason);
                prop_assert!(!failure.reason.contains('\n'), "{}", failure.reason);
            }
        }
    }
}
