//! `showtell publish`: hands the current rows to a data warehouse.

use std::path::PathBuf;

use clap::Args;

use super::exit::Exit;
use super::terminal::Terminal;

/// Makes a Delta Lake table equal to the current rows of an output directory
///
/// What is new is added, what has changed is replaced, what is gone is taken out, all in one version
/// of the table: its readers see the rows of before or the rows of after. A run that is there already
/// is not published again.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct PublishArguments {
    /// The output directory of `showtell annotate`
    #[arg(value_name = "OUT")]
    out: PathBuf,
    /// Where to: delta:DIRECTORY or delta:s3://BUCKET/PATH
    #[arg(long, value_name = "DESTINATION")]
    to: String,
    /// Take the table over although its rows came from another output directory or program
    #[arg(long)]
    replace: bool,
}

const EXAMPLES: &str = "\
Examples:
  showtell publish captions/ --to delta:/srv/warehouse/captions
  AWS_REGION=eu-central-1 showtell publish captions/ --to delta:s3://warehouse/captions

For S3, credentials, region and endpoint come from the environment: AWS_ACCESS_KEY_ID,
AWS_SECRET_ACCESS_KEY, AWS_REGION, AWS_ENDPOINT_URL, ..., or from the machine's role.";

#[cfg(not(feature = "delta"))]
pub fn run(arguments: &PublishArguments, _terminal: &Terminal) -> anyhow::Result<Exit> {
    let PublishArguments { out, to, replace } = arguments;
    tracing::debug!(out = %out.display(), to, replace, "asked to publish");
    Err(super::run::UsageError(
        "this showtell was built without the feature delta, which publishing needs: build it with \
         `make build FEATURES=delta` or `cargo build --release --features delta`"
            .to_owned(),
    )
    .into())
}

#[cfg(feature = "delta")]
pub fn run(arguments: &PublishArguments, terminal: &Terminal) -> anyhow::Result<Exit> {
    use std::io::Write;

    use indicatif::HumanCount;
    use showtell::table::Layout;
    use showtell::table::warehouse::{Destination, OfAnother, WarehouseError, publish};

    use super::output::output;

    let destination: Destination = arguments.to.parse().map_err(WarehouseError::from)?;
    let environment = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    let settings = environment.filter(|(name, _)| name.starts_with("AWS_"));
    let destination = destination.with_settings(settings);
    let of_another = match arguments.replace {
        true => OfAnother::Replace,
        false => OfAnother::Refuse,
    };
    let layout = Layout::open(&arguments.out)?;
    let published = publish(&layout, &destination, of_another)?;
    let (run_id, version) = (published.run_id, published.version);
    if terminal.json {
        tracing::info!(
            %run_id,
            %destination,
            version,
            rows = published.rows,
            added = published.added,
            changed = published.changed,
            deleted = published.deleted,
            is_new = published.is_new,
            "published"
        );
    } else if published.is_new {
        writeln!(
            output(),
            "{destination} is at run {run_id}: {} added, {} changed, {} deleted; version {version}, {} rows",
            HumanCount(published.added),
            HumanCount(published.changed),
            HumanCount(published.deleted),
            HumanCount(published.rows),
        )?;
    } else {
        writeln!(
            output(),
            "{destination} is at run {run_id} already: nothing to do; version {version}, {} rows",
            HumanCount(published.rows),
        )?;
    }
    Ok(Exit::Complete)
}
