//! Puts all measurements of a set of captions together: as a table, as JSON, as rows.
//!
//! It stands apart because the metrics know arrays and a reader wants names.

use std::fmt::Write as _;
use std::io;

use serde::{Deserialize, Serialize};

use super::novelty::Novelty;

/// BLEU of orders 1 to 4, 0 to 1.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct BleuScores {
    pub bleu_1: f64,
    pub bleu_2: f64,
    pub bleu_3: f64,
    pub bleu_4: f64,
}

impl From<[f64; 4]> for BleuScores {
    fn from([bleu_1, bleu_2, bleu_3, bleu_4]: [f64; 4]) -> Self {
        BleuScores {
            bleu_1,
            bleu_2,
            bleu_3,
            bleu_4,
        }
    }
}

/// The metrics of one image or of all.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Metrics {
    /// Over the corpus this is no mean.
    #[serde(flatten)]
    pub bleu: BleuScores,
    /// 0 to 1.
    pub rouge_l: f64,
    /// What the COCO evaluation calls CIDEr, 0 to 10.
    pub cider_d: f64,
    /// CIDEr without clipping and penalty for length, 0 to 10.
    pub cider_original: f64,
}

/// One row of the report.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ImageScores {
    pub image_id: u64,
    pub file_name: Option<String>,
    /// As written.
    pub caption: String,
    #[serde(flatten)]
    pub metrics: Metrics,
}

/// What was not measured, by name.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct LeftOut {
    /// Images with references, without a candidate.
    pub missing: Vec<String>,
    /// Candidates for images without references.
    pub unknown: Vec<String>,
    /// Further candidates for an image that has one.
    pub repeated: Vec<String>,
}

/// All measurements of a set of captions.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// Images measured.
    pub images: usize,
    /// Reference captions of these images.
    pub references: usize,
    #[serde(flatten)]
    pub metrics: Metrics,
    /// Words of all candidates.
    pub candidate_words: u64,
    /// Words of the references that are closest in length to their candidates.
    pub reference_words: u64,
    pub novelty: Novelty,
    pub left_out: LeftOut,
    pub per_image: Vec<ImageScores>,
}

impl Report {
    /// Candidate words over reference words: under 1, BLEU charges for brevity.
    pub fn length_ratio(&self) -> f64 {
        self.candidate_words as f64 / self.reference_words.max(1) as f64
    }

    /// The report without its images, for people: one measurement a line.
    pub fn table(&self) -> String {
        let mut table = String::new();
        let mut line = |name: &str, value: String, note: &str| {
            let text = format!("{name:<20}{value:>10}  {note}");
            table.push_str(text.trim_end());
            table.push('\n');
        };
        let bleu = &self.metrics.bleu;
        let score = |value: f64| format!("{value:.4}");
        let hundredfold = |value: f64| format!("{:>6.1}", 100.0 * value);
        let metrics = [
            ("BLEU-1", bleu.bleu_1, ""),
            ("BLEU-2", bleu.bleu_2, ""),
            ("BLEU-3", bleu.bleu_3, ""),
            ("BLEU-4", bleu.bleu_4, ""),
            ("ROUGE-L", self.metrics.rouge_l, ""),
            (
                "CIDEr-D",
                self.metrics.cider_d,
                "  CIDEr in the COCO evaluation",
            ),
            (
                "CIDEr",
                self.metrics.cider_original,
                "  neither clipped nor charged for length",
            ),
        ];
        line("", "score".into(), "  x100");
        for (name, value, note) in metrics {
            line(name, score(value), &(hundredfold(value) + note));
        }
        let novelty = &self.novelty;
        let percent = |share: f64| format!("{:.1} %", 100.0 * share);
        let of_captions =
            percent(novelty.distinct_captions as f64 / novelty.captions.max(1) as f64);
        line("length ratio", score(self.length_ratio()), "");
        line("images", self.images.to_string(), "");
        line("references", self.references.to_string(), "");
        line(
            "distinct captions",
            novelty.distinct_captions.to_string(),
            &of_captions,
        );
        if let Some(seen) = novelty.seen_in_training {
            line("seen in training", percent(seen), "");
        }
        let commonest = format!("{:?}", novelty.commonest);
        line(
            "commonest caption",
            percent(novelty.commonest_share),
            &commonest,
        );
        line("distinct-1", score(novelty.distinct_1), "");
        line("distinct-2", score(novelty.distinct_2), "");
        line("vocabulary", novelty.vocabulary.to_string(), "");
        let range = format!("{} to {}", novelty.min_length, novelty.max_length);
        line(
            "words a caption",
            format!("{:.2}", novelty.mean_length),
            &range,
        );
        for (name, left_out) in [
            ("without candidate", &self.left_out.missing),
            ("without references", &self.left_out.unknown),
            ("repeated", &self.left_out.repeated),
        ] {
            if !left_out.is_empty() {
                line(name, left_out.len().to_string(), "left out");
            }
        }
        table
    }

    /// The whole report, images included.
    ///
    /// # Errors
    ///
    /// If `serde_json` fails, which it has no cause to.
    pub fn to_json(&self) -> serde_json::Result<String> {
        serde_json::to_string_pretty(self)
    }

    /// Writes one JSON object a line, one an image.
    ///
    /// # Errors
    ///
    /// If `out` cannot be written.
    pub fn write_rows(&self, mut out: impl io::Write) -> io::Result<()> {
        let mut line = String::new();
        for image in &self.per_image {
            line.clear();
            let _ = writeln!(line, "{}", serde_json::to_string(image)?);
            out.write_all(line.as_bytes())?;
        }
        out.flush()
    }
}
