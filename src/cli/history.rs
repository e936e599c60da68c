//! `showtell history`: what was ever said of one image.

use std::io::{self, Write};
use std::path::PathBuf;

use chrono::{DateTime, SecondsFormat};
use clap::Args;
use serde_json::{Value, json};
use showtell::archive::Micros;
use showtell::table::{Identity, Layout, Outcome, Row};
use showtell::upkeep::{History, RowStanding, Said};

use super::columns::{Columns, left, right};
use super::exit::Exit;
use super::output::output;
use super::runs::MOMENT;

/// Shows what was ever said of one image: every row of every run, oldest first
///
/// Rows that `showtell compact` has dropped are not there any more. Only reads, and works beside a run.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  showtell history captions/ 2019/beach.jpg
  showtell history captions/ photos/2019/beach.jpg    with its root before it")]
pub struct HistoryArguments {
    /// The output directory of `showtell annotate`
    #[arg(value_name = "OUT")]
    out: PathBuf,
    /// The image's path as the table has it: below its root, /-separated
    #[arg(value_name = "URI")]
    uri: String,
    /// Print the rows, beams and all, as a JSON array
    #[arg(long)]
    json: bool,
}

pub fn run(arguments: &HistoryArguments) -> anyhow::Result<Exit> {
    let layout = Layout::open(&arguments.out)?;
    let history = History::of(&layout, &arguments.uri)?;
    for damage in &history.damaged {
        tracing::warn!("{}: {}", damage.path.display(), damage.reason);
    }
    let mut text = output();
    if arguments.json {
        let rows: Vec<Value> = history.rows.iter().map(row_json).collect();
        serde_json::to_writer_pretty(&mut text, &rows)?;
        writeln!(text)?;
        return Ok(Exit::Complete);
    }
    let images = history.rows.chunk_by(|a, b| a.row.key() == b.row.key());
    for (place, rows) in images.enumerate() {
        if place > 0 {
            writeln!(text)?;
        }
        image(&mut text, rows)?;
    }
    Ok(Exit::Complete)
}

/// The rows of one root.
fn image(text: &mut impl Write, rows: &[Said]) -> io::Result<()> {
    let Some(Said { row, .. }) = rows.last() else {
        return Ok(());
    };
    writeln!(text, "{} of {}", row.uri, row.root)?;
    let mut table = Columns::default();
    let mut made: Option<&Identity> = None;
    for Said { row, standing } in rows {
        let (status, score, said) = match &row.outcome {
            Outcome::Captioned(beams) => match beams.first() {
                Some(best) => (
                    "captioned",
                    format!("{:.2}", best.score),
                    best.caption.clone(),
                ),
                None => ("captioned", String::new(), String::new()),
            },
            Outcome::Failed(failure) => ("failed", String::new(), failure.reason.clone()),
            Outcome::Deleted => ("deleted", String::new(), String::new()),
        };
        let holds = match standing {
            RowStanding::Current => "current",
            RowStanding::Superseded => "",
            RowStanding::KeptBack => "kept back",
        };
        table.row([
            left(row.run_id),
            left(moment(row.annotated_at).unwrap_or_default()),
            left(holds),
            left(status),
            right(score),
            left(said),
        ]);
        if row.identity.is_some() && row.identity.as_ref() != made {
            made = row.identity.as_ref();
        }
    }
    table.write(text, "  ")?;
    if let Some(made) = made {
        writeln!(
            text,
            "  last by {} from {}, {}",
            made.captioner_id, made.encoder_id, made.decoding
        )?;
    }
    Ok(())
}

fn moment(micros: Micros) -> Option<String> {
    let moment = DateTime::from_timestamp_micros(micros)?;
    Some(moment.format(MOMENT).to_string())
}

/// A row by the table's columns, and whether it holds.
fn row_json(said: &Said) -> Value {
    let Row {
        uri,
        root,
        image_id,
        bytes,
        modified_at,
        width,
        height,
        format,
        outcome,
        identity,
        run_id,
        annotated_at,
    } = &said.row;
    let moment = |micros: &Micros| {
        let moment = DateTime::from_timestamp_micros(*micros);
        moment.map(|moment| moment.to_rfc3339_opts(SecondsFormat::Micros, true))
    };
    let (status, failure, beams) = match outcome {
        Outcome::Captioned(beams) => ("captioned", None, beams.as_slice()),
        Outcome::Failed(failure) => ("failed", Some(failure), &[][..]),
        Outcome::Deleted => ("deleted", None, &[][..]),
    };
    let beams_json = (1..).zip(beams).map(|(rank, beam)| {
        json!({
            "rank": rank, "caption": beam.caption, "log_prob": beam.log_prob,
            "tokens": beam.tokens, "score": beam.score, "finished": beam.finished,
        })
    });
    json!({
        "uri": uri,
        "root": &**root,
        "image_id": image_id,
        "bytes": bytes,
        "modified_at": moment(modified_at),
        "width": width,
        "height": height,
        "format": format.as_deref(),
        "status": status,
        "error_stage": failure.map(|failure| format!("{:?}", failure.stage).to_lowercase()),
        "error": failure.map(|failure| &failure.reason),
        "caption": beams.first().map(|best| &best.caption),
        "score": beams.first().map(|best| best.score),
        "beams": beams_json.collect::<Vec<_>>(),
        "encoder_id": identity.as_ref().map(|made| &*made.encoder_id),
        "captioner_id": identity.as_ref().map(|made| &*made.captioner_id),
        "decoding": identity.as_ref().map(|made| &*made.decoding),
        "run_id": run_id,
        "annotated_at": moment(annotated_at),
        "standing": match said.standing {
            RowStanding::Current => "current",
            RowStanding::Superseded => "superseded",
            RowStanding::KeptBack => "kept_back",
        },
    })
}
