//! `showtell model`: lists models and published weights, describes them, fetches them.
//!
//! Standard output gets what was asked for (a list, a description, the path of a fetched file), so that
//! a script can take it; everything else goes to standard error.

mod describe;
mod get;

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use clap::{Args, Subcommand};
use serde::Serialize;
use showtell::captioner::model::Model;
use showtell::hub::{self, Description, Entry, FoundModel, REGISTRY, State, Store};

use self::describe::{describe_state, write_entry, write_model};
use self::get::{GetArgs, get};

/// Lists models and published weights, describes them, fetches them
#[derive(Debug, Args)]
pub struct ModelArgs {
    #[command(subcommand)]
    command: ModelCommand,
}

#[derive(Debug, Subcommand)]
enum ModelCommand {
    /// List the models on this machine and the weights that can be fetched
    List(ListArgs),
    /// Describe a model, or weights that can be fetched
    ///
    /// Of a model that lacks something without which it cannot caption it tells what that is, and ends with 2.
    Info(InfoArgs),
    /// Fetch weights by name, resuming and checking their SHA-256, and print where they lie
    Get(GetArgs),
}

#[derive(Debug, Args)]
struct ListArgs {
    /// Write JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
struct InfoArgs {
    /// A model's folder, the name of a model, or the name of weights that can be fetched
    #[arg(value_name = "NAME|DIR")]
    model: PathBuf,
    /// Write JSON
    #[arg(long)]
    json: bool,
}

/// Runs `showtell model`. `out` is standard output.
///
/// # Errors
/// [`HubError::UnknownName`] and [`HubError::BadAddress`] are wrong usage; the others are the network's,
/// the disk's or the file's.
pub fn run(args: &ModelArgs, out: &mut dyn Write) -> anyhow::Result<()> {
    match &args.command {
        ModelCommand::List(args) => {
            let listing = Listing::of(hub::find_models(&model_folders()), user_store().as_ref());
            match args.json {
                true => write_json(&listing, out),
                false => Ok(listing.write(out)?),
            }
        }
        ModelCommand::Info(args) => info(args, out),
        ModelCommand::Get(args) => get(args, out),
    }
}

/// Where models are looked for by name, first found first taken: `SHOWTELL_MODELS` (folders, separated
/// like `PATH`), `data/models` here and above the program, `share/showtell/models` beside the program's
/// folder, and the user's own folders for data and cache.
pub fn model_folders() -> Vec<PathBuf> {
    let mut folders: Vec<PathBuf> = match std::env::var_os("SHOWTELL_MODELS") {
        Some(folders) => std::env::split_paths(&folders)
            .filter(|folder| !folder.as_os_str().is_empty())
            .collect(),
        None => Vec::new(),
    };
    folders.push(PathBuf::from("data/models"));
    if let Ok(program) = std::env::current_exe() {
        // target/release/showtell lies two folders below the repository, an installed one beside share/.
        for folder in program.ancestors().skip(2).take(2) {
            folders.push(folder.join("data/models"));
            folders.push(folder.join("share/showtell/models"));
        }
    }
    // Where it was built, for a program that was built outside its repository.
    folders.push(PathBuf::from(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/data/models"
    )));
    let absolute = |name: &str| {
        let path = PathBuf::from(std::env::var_os(name)?);
        path.is_absolute().then_some(path)
    };
    let data = absolute("XDG_DATA_HOME").or_else(|| Some(absolute("HOME")?.join(".local/share")));
    folders.extend(data.map(|data| data.join("showtell/models")));
    folders.extend(user_store().map(|store| store.folder().to_path_buf()));
    folders
}

/// Where fetched weights lie unless the user says otherwise; none without a home folder.
pub fn user_store() -> Option<Store> {
    Store::of_user(
        std::env::var_os("XDG_CACHE_HOME").as_deref(),
        std::env::var_os("HOME").as_deref(),
    )
}

#[derive(Serialize)]
struct Listing {
    models: Vec<FoundModel>,
    weights: Vec<Weights>,
}

#[derive(Serialize)]
struct Weights {
    #[serde(flatten)]
    entry: &'static Entry,
    #[serde(flatten)]
    state: State,
}

impl Weights {
    fn of(entry: &'static Entry, store: Option<&Store>) -> Weights {
        let state = store.map_or(State::Absent, |store| store.state(entry));
        Weights { entry, state }
    }
}

impl Listing {
    fn of(models: Vec<FoundModel>, store: Option<&Store>) -> Listing {
        let weights = REGISTRY.iter().map(|entry| Weights::of(entry, store));
        Listing {
            models,
            weights: weights.collect(),
        }
    }

    fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        writeln!(out, "Models on this machine")?;
        if self.models.is_empty() {
            writeln!(out, "  none")?;
        }
        for model in &self.models {
            writeln!(out, "  {}", model.name)?;
            match &model.description {
                Description::Readable(_) => {
                    for key in ["purpose", "captioner.architecture"] {
                        if let Some(text) = model.text(key) {
                            writeln!(out, "      {}", first_line(text))?;
                        }
                    }
                }
                Description::Unreadable(reason) => {
                    writeln!(out, "      unreadable: {}", first_line(reason))?;
                }
            }
            writeln!(out, "      {}", model.folder.display())?;
        }
        writeln!(out, "\nWeights that can be fetched")?;
        for weights in &self.weights {
            writeln!(out, "  {}", weights.entry.name)?;
            writeln!(out, "      {}", weights.entry.about)?;
            writeln!(
                out,
                "      {}",
                describe_state(weights.entry, &weights.state)
            )?;
        }
        Ok(())
    }
}

fn info(args: &InfoArgs, out: &mut dyn Write) -> anyhow::Result<()> {
    if let Some(model) = find_model(&args.model, &model_folders()) {
        let table = match &model.description {
            Description::Readable(table) => table,
            Description::Unreadable(reason) => {
                bail!("{}: {reason}", model.folder.join("model.toml").display())
            }
        };
        match args.json {
            true => write_json(&model, out)?,
            false => write_model(&model, table, out)?,
        }
        // Described all the same: what it lacks may be fetched by who knows what it is.
        let whole = Model::open(&model.folder).and_then(|model| model.check());
        return whole.with_context(|| format!("the model {} cannot be used", model.name));
    }
    if args.model.is_dir() {
        bail!(
            "{} has no model.toml: it is not a model",
            args.model.display()
        );
    }
    let name = args.model.to_string_lossy();
    let entry = hub::find(&name).with_context(|| format!("there is no model `{name}` either"))?;
    let weights = Weights::of(entry, user_store().as_ref());
    match args.json {
        true => write_json(&weights, out),
        false => Ok(write_entry(&weights, out)?),
    }
}

/// A folder that is named as such, or the model of this name in one of `folders`.
fn find_model(model: &Path, folders: &[PathBuf]) -> Option<FoundModel> {
    FoundModel::at(model).or_else(|| {
        hub::find_models(folders)
            .into_iter()
            .find(|found| Path::new(&found.name) == model)
    })
}

fn first_line(text: &str) -> &str {
    text.trim().lines().next().unwrap_or_default()
}

fn write_json(value: &impl Serialize, out: &mut dyn Write) -> anyhow::Result<()> {
    serde_json::to_writer_pretty(&mut *out, value)?;
    writeln!(out)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;
    use showtell::hub::HubError;

    #[derive(Debug, Parser)]
    struct Program {
        #[command(flatten)]
        args: ModelArgs,
    }

    fn text(write: impl FnOnce(&mut dyn Write)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).unwrap()
    }

    fn model(text: &str) -> (tempfile::TempDir, FoundModel) {
        let place = tempfile::tempdir().unwrap();
        let folder = place.path().join("demo");
        std::fs::create_dir(&folder).unwrap();
        std::fs::write(folder.join("model.toml"), text).unwrap();
        std::fs::write(folder.join("vocabulary.txt"), "a\nb\n").unwrap();
        let found = FoundModel::at(&folder).unwrap();
        (place, found)
    }

    const MODEL: &str = "purpose = \"\"\"\nDrawn\nscenes\"\"\"\n[captioner]\narchitecture = 'show-and-tell'\n\
        [encoder]\nname = 'vgg16'\nmean = [0.1, 0.2]\n[encoder.input]\nsize = 112\n[decode]\nbeam = 3\n";

    #[test]
    fn a_model_is_described_in_the_order_of_its_file() {
        let (_place, model) = model(MODEL);
        let Description::Readable(table) = &model.description else {
            panic!("unreadable")
        };
        let text = text(|out| write_model(&model, table, out).unwrap());
        let lines: Vec<&str> = text
            .lines()
            .filter(|line| !line.starts_with("folder"))
            .collect();
        assert_eq!(
            lines,
            [
                "name          demo",
                "purpose       Drawn scenes",
                "captioner",
                "  architecture show-and-tell",
                "encoder",
                "  name        vgg16",
                "  mean        0.1, 0.2",
                "  input",
                "    size      112",
                "decode",
                "  beam        3",
                "files",
                &format!("  model.toml              {} B", MODEL.len()),
                "  vocabulary.txt          4 B",
            ]
        );
    }

    #[test]
    fn a_model_is_found_by_folder_and_by_name() {
        let (place, model) = model(MODEL);
        let folders = [place.path().to_path_buf()];
        assert_eq!(find_model(&model.folder, &[]), Some(model.clone()));
        assert_eq!(find_model(Path::new("demo"), &folders), Some(model));
        assert_eq!(find_model(Path::new("other"), &folders), None);
    }

    #[test]
    fn the_list_tells_what_is_here_and_how_to_get_the_rest() {
        let (place, model) = model(MODEL);
        std::fs::write(place.path().join("vgg16-397923af.pth"), "1234").unwrap();
        std::fs::write(place.path().join("vgg16.tv_in1k.safetensors.partial"), "12").unwrap();
        let listing = Listing::of(vec![model], Some(&Store::new(place.path())));
        let text = text(|out| listing.write(out).unwrap());
        assert!(
            text.contains("  demo\n      Drawn\n      show-and-tell\n"),
            "{text}"
        );
        assert!(text.contains("vgg16-397923af.pth, 4 B"), "{text}");
        assert!(
            text.contains("2 B of 553.43 MB here: `showtell model get vgg16-timm`"),
            "{text}"
        );
        assert!(
            text.contains("not here: `showtell model get vgg16-caffe` fetches 553.44 MB"),
            "{text}"
        );

        let json = serde_json::to_value(&listing).unwrap();
        assert_eq!(json["models"][0]["readable"]["decode"]["beam"], 3);
        assert_eq!(json["weights"][0]["name"], "vgg16");
        assert_eq!(json["weights"][0]["state"], "present");
    }

    #[test]
    fn an_entry_tells_all_that_is_published_of_it() {
        let weights = Weights::of(hub::find("vgg16-caffe").unwrap(), None);
        let text = text(|out| write_entry(&weights, out).unwrap());
        for part in [
            "layers        conv5_3\n",
            "short side to 256, centre 224x224, RGB / 255",
            "std           0.00392 0.00392 0.00392",
            "SHA-256       88682ab5...",
            "CC BY 4.0",
        ] {
            assert!(text.contains(part), "{part} is missing in\n{text}");
        }
    }

    #[test]
    fn unknown_names_are_wrong_usage() {
        let run = |arguments: &[&str]| {
            let program = Program::try_parse_from([&["model"], arguments].concat()).unwrap();
            run(&program.args, &mut Vec::new()).unwrap_err()
        };
        for arguments in [["get", "vgg19"], ["info", "vgg19"]] {
            let error = run(&arguments);
            assert!(
                matches!(error.downcast_ref(), Some(HubError::UnknownName { .. })),
                "{error:?}"
            );
        }
        let place = tempfile::tempdir().unwrap();
        let error = run(&["info", place.path().to_str().unwrap()]).to_string();
        assert!(error.contains("it is not a model"), "{error}");
    }

    #[test]
    fn a_model_that_lacks_something_is_described_and_refused() {
        let demo = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("data/models/demo");
        let place = tempfile::tempdir().unwrap();
        for file in demo.read_dir().unwrap() {
            let file = file.unwrap();
            std::fs::copy(file.path(), place.path().join(file.file_name())).unwrap();
        }
        let info = || {
            let program =
                Program::try_parse_from(["model", "info", place.path().to_str().unwrap()]);
            let mut out = Vec::new();
            let result = run(&program.unwrap().args, &mut out);
            assert!(String::from_utf8(out).unwrap().contains("show-and-tell"));
            result.map_err(|error| format!("{error:#}"))
        };
        assert_eq!(info(), Ok(()));
        for file in ["encoder.safetensors", "vocabulary.txt"] {
            let (file, away) = (place.path().join(file), place.path().join("away"));
            std::fs::rename(&file, &away).unwrap();
            let error = info().unwrap_err();
            let expected = format!(
                "cannot be used: cannot read {}: No such file",
                file.display()
            );
            assert!(error.contains(&expected), "{error}");
            std::fs::rename(&away, &file).unwrap();
        }
        std::fs::copy(
            place.path().join("encoder.safetensors"),
            place.path().join("captioner.safetensors"),
        )
        .unwrap();
        let error = info().unwrap_err();
        assert!(error.contains("lacks the tensor"), "{error}");
        assert!(!error.contains("torchvision"), "{error}");
    }
}
