//! How much of what captions say of drawn scenes is true, and whether they say what they expect.

use std::collections::BTreeMap;
use std::io::{self, Write};

use crate::cli::output::output;
use showtell::evaluation::Report;
use showtell::scenes::{Checker, Expectation, Tally, Truth, Verdicts};

/// What captions say of scenes whose truth is known.
pub struct Told {
    verdicts: Vec<Verdicts>,
    expectation: Expectation,
}

impl Told {
    pub fn new(report: &Report, truth: &BTreeMap<String, Truth>) -> Self {
        let known: Vec<(&str, &Truth)> = report
            .per_image
            .iter()
            .filter_map(|image| {
                let truth = truth.get(image.file_name.as_deref()?)?;
                Some((image.caption.as_str(), truth))
            })
            .collect();
        let verdicts = known.iter();
        Told {
            verdicts: verdicts
                .map(|(caption, truth)| Checker::new(truth).check(caption))
                .collect(),
            expectation: Expectation::of(known),
        }
    }

    /// Adds what is told to the report's JSON.
    pub fn add_to(&self, json: &mut serde_json::Value) -> serde_json::Result<()> {
        json["truth"] = serde_json::to_value(Tally::of(self.verdicts.iter().copied()))?;
        json["main_true"] = main_share(&self.verdicts).into();
        json["expectation"] = serde_json::to_value(self.expectation)?;
        Ok(())
    }

    pub fn print(&self) -> io::Result<()> {
        writeln!(output(), "\nTrue of the scenes")?;
        for tally in Tally::of(self.verdicts.iter().copied()) {
            writeln!(
                output(),
                "  {:<10} {:6.1} %",
                tally.name,
                100.0 * tally.share_right()
            )?;
        }
        writeln!(
            output(),
            "  setting, kind and colour together  {:.1} %",
            100.0 * main_share(&self.verdicts)
        )?;
        let found = &self.expectation;
        if found.scenes == 0 {
            return Ok(());
        }
        let share = |count: usize| 100.0 * count as f64 / found.scenes as f64;
        writeln!(
            output(),
            "\nSetting said where the main object is tied to another than is seen ({} scenes)",
            found.scenes
        )?;
        writeln!(output(), "  the one seen      {:6.1} %", share(found.seen))?;
        writeln!(
            output(),
            "  the one expected  {:6.1} %  by guessing {:.1} %",
            share(found.expected),
            100.0 * found.share_expected_by_guessing
        )?;
        writeln!(output(), "  another           {:6.1} %", share(found.other))?;
        writeln!(output(), "  none              {:6.1} %", share(found.none))?;
        if found.expected + found.other > 0 {
            writeln!(
                output(),
                "  of the wrong ones, expected  {:.1} %  by chance {:.1} %",
                100.0 * found.share_of_wrong,
                100.0 * found.share_of_wrong_by_chance
            )?;
        }
        Ok(())
    }
}

fn main_share(verdicts: &[Verdicts]) -> f64 {
    let right = verdicts
        .iter()
        .filter(|verdict| verdict.is_main_right())
        .count();
    right as f64 / verdicts.len().max(1) as f64
}
