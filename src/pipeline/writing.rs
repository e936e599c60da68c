//! Makes features and rows durable, features first.

use std::time::{Duration, Instant};

use crossbeam_channel::Receiver;

use super::PipelineError;
use super::captioning::Finished;
use super::live::Live;
use crate::cache::CacheWriter;
use crate::table::{Layout, Part, PartWriter, RunId};

/// A part is finished after this long, however few rows it has: what a kill can cost.
const PART_TIME: Duration = Duration::from_secs(300);

/// What a run has written.
#[derive(Debug)]
pub struct WrittenParts {
    pub captions: Vec<Part>,
    pub embeddings: Vec<Part>,
    /// Rows that are not for the table; none where nothing was found to do.
    pub seen: Option<Part>,
}

/// See the [module](self).
pub struct WritingStage<'a> {
    features: CacheWriter,
    layout: &'a Layout,
    run_id: RunId,
    live: &'a Live,
    /// Rows at which a part is finished.
    part_rows: usize,
    part: PartWriter,
    part_begun: Instant,
    /// Takes the rows instead, where they are not for the table.
    seen: Option<PartWriter>,
    parts: Vec<Part>,
    /// Number of the part that is being filled.
    number: u32,
}

impl<'a> WritingStage<'a> {
    pub fn new(
        features: CacheWriter,
        layout: &'a Layout,
        run_id: RunId,
        part_rows: usize,
        live: &'a Live,
    ) -> Self {
        WritingStage {
            features,
            layout,
            run_id,
            live,
            part_rows,
            part: PartWriter::create(layout, &run_id, 0),
            part_begun: Instant::now(),
            seen: None,
            parts: Vec::new(),
            number: 0,
        }
    }

    /// Gives the rows to `seen`, if there is such a one, instead of the table.
    pub fn giving_rows_to(self, seen: Option<PartWriter>) -> Self {
        WritingStage { seen, ..self }
    }

    /// Writes chunk after chunk until the queue is closed.
    pub fn run(mut self, chunks: Receiver<Finished>) -> Result<WrittenParts, PipelineError> {
        for Finished { features, rows } in chunks {
            let live = self.live;
            live.write.time(rows.len(), || {
                for (id, features) in features {
                    self.features.append(id, &features)?;
                }
                for row in rows {
                    if let Some(seen) = &mut self.seen {
                        seen.push(row)?;
                        continue;
                    }
                    self.part.push(row)?;
                    if self.part.len() >= self.part_rows {
                        self.finish_part()?;
                    }
                }
                if self.part_begun.elapsed() >= PART_TIME {
                    self.finish_part()?;
                }
                Ok::<_, PipelineError>(())
            })?;
        }
        let live = self.live;
        let seen = live.write.time(0, || {
            self.finish_part()?;
            self.features.replace_spoilt_parts()?;
            let seen = self.seen.take().map(PartWriter::finish);
            Ok::<_, PipelineError>(seen.transpose()?.flatten())
        })?;
        Ok(WrittenParts {
            seen,
            captions: self.parts,
            embeddings: self.features.parts().to_vec(),
        })
    }

    fn finish_part(&mut self) -> Result<(), PipelineError> {
        self.part_begun = Instant::now();
        // A row never stands in the table before the features that it came from are safe.
        self.features.finish_part()?;
        self.number += 1;
        let next = PartWriter::create(self.layout, &self.run_id, self.number);
        let part = std::mem::replace(&mut self.part, next);
        self.parts.extend(part.finish()?);
        Ok(())
    }
}
