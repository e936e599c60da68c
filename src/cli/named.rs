//! Parses what the library knows by name, and tells shells which names there are.
//!
//! The library's own types have no part in the command line, so clap cannot ask them.

use std::error::Error;
use std::ffi::OsStr;
use std::marker::PhantomData;
use std::str::FromStr;

use clap::builder::{PossibleValue, TypedValueParser};
use clap::{Arg, Command};

/// Takes whatever `T` can be parsed from; a shell offers the names. Of names with numbers in them, such as
/// `cuda:N`, it offers one.
#[derive(Clone)]
pub struct Named<T> {
    names: &'static [&'static str],
    parsed: PhantomData<T>,
}

impl<T> Named<T> {
    pub const fn new(names: &'static [&'static str]) -> Self {
        Named {
            names,
            parsed: PhantomData,
        }
    }
}

/// What `--device` is offered.
pub const DEVICES: &[&str] = &["auto", "cpu", "cuda:0", "all"];
/// What `--precision` is offered.
pub const PRECISIONS: &[&str] = &["auto", "fp32", "bf16", "fp16"];

impl<T> TypedValueParser for Named<T>
where
    T: FromStr<Err: Into<Box<dyn Error + Send + Sync>>> + Clone + Send + Sync + 'static,
{
    type Value = T;

    fn parse_ref(
        &self,
        command: &Command,
        argument: Option<&Arg>,
        value: &OsStr,
    ) -> Result<T, clap::Error> {
        T::from_str.parse_ref(command, argument, value)
    }

    fn possible_values(&self) -> Option<Box<dyn Iterator<Item = PossibleValue> + '_>> {
        Some(Box::new(self.names.iter().map(PossibleValue::new)))
    }
}

#[cfg(test)]
mod tests {
    use showtell::encoder::device::{DeviceChoice, Precision};

    use super::*;

    #[test]
    fn all_that_is_offered_is_taken() {
        for name in DEVICES {
            assert_eq!(name.parse::<DeviceChoice>().unwrap().to_string(), *name);
        }
        for name in PRECISIONS {
            assert_eq!(name.parse::<Precision>().unwrap().to_string(), *name);
        }
    }
}
