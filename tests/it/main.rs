//! The library and the command as their users meet them, in one binary.

/// The command over archives of every kind.
mod annotate;
/// The archive stage over good and bad files.
mod archive;
/// The command with a captioner that looks at regions.
mod attention;
/// Builds the bad ones.
mod broken;
/// Features written and read back by the parquet crate.
mod cache;
/// The captioners against PyTorch.
mod captioners;
/// Completions and help.
mod command_line;
/// The command, told by a file.
mod configuration;
/// Data sets of captioned images in every form.
mod dataset;
/// The demonstration model against the truth of drawn scenes.
mod demo;
/// Features without captions, night after night.
mod embed;
/// Caption metrics against the published tools.
mod evaluation;
/// What guards keep out of the table.
mod guards;
/// Weights fetched from a server on loopback.
mod hub;
/// `evaluate` on data sets and on scenes.
mod measuring;
/// Night after night: only what is new.
mod nights;
/// The current rows as a Delta table.
mod publish;
/// The training recipes.
mod recipes;
/// Drawn scenes and the samples that ship.
mod scenes;
#[path = "../../src/seeded.rs"]
mod seeded;
/// Captions written and read back by the arrow and parquet crates.
mod table;
/// The command ill-treated: killed, without room, over damaged files.
mod torture;
/// Trainings on captioned pictures; what a kill costs them.
mod training;
/// Looking at an output, compacting it, metrics.
mod upkeep;
/// The encoder against torchvision.
mod vgg16;
