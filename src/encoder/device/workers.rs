//! Threads that each hold something of their own, such as a model on a device, and work on it in the order in
//! which they are asked.

use std::io;
use std::thread::JoinHandle;

use crossbeam_channel::{Receiver, Sender, bounded, unbounded};

/// Makes what a worker will hold, in its thread.
pub type Make<T, E> = Box<dyn FnOnce() -> Result<Box<T>, E> + Send>;

/// Work on what a worker holds.
type Job<T> = Box<dyn FnOnce(&T) + Send>;

/// Why a worker does not work.
#[derive(Debug, thiserror::Error)]
pub enum WorkerError {
    #[error("cannot start a thread for a device")]
    NoThread(#[source] io::Error),
    #[error("the thread of a device has ended early")]
    Ended,
}

/// A thread that holds a `T`. It ends when it is dropped, after what it was asked for.
pub struct Worker<T: ?Sized> {
    jobs: Option<Sender<Job<T>>>,
    thread: Option<JoinHandle<()>>,
}

/// What a worker was asked for.
pub struct Answer<R>(Receiver<R>);

impl<R> Answer<R> {
    /// Waits for it.
    ///
    /// # Errors
    ///
    /// When the worker has ended without it.
    pub fn wait(self) -> Result<R, WorkerError> {
        self.0.recv().map_err(|_| WorkerError::Ended)
    }
}

/// Starts a worker for each of `makes`, all at once, and waits until each holds something.
///
/// # Errors
///
/// That of the first that has one.
pub fn start<T, E>(name: &str, makes: Vec<Make<T, E>>) -> Result<Vec<Worker<T>>, E>
where
    T: ?Sized + 'static,
    E: From<WorkerError> + Send + 'static,
{
    let started = makes
        .into_iter()
        .enumerate()
        .map(|(index, make)| Worker::start(format!("{name} {index}"), make))
        .collect::<Result<Vec<_>, _>>()?;
    started
        .into_iter()
        .map(|(worker, made)| made.wait()?.map(|()| worker))
        .collect()
}

impl<T: ?Sized + 'static> Worker<T> {
    /// The worker, and whether it came to hold something.
    fn start<E: Send + 'static>(
        name: String,
        make: Make<T, E>,
    ) -> Result<(Self, Answer<Result<(), E>>), WorkerError> {
        let (jobs, asked) = unbounded::<Job<T>>();
        let (tells, made) = bounded(1);
        let work = move || {
            let held = match make() {
                Ok(held) => held,
                Err(error) => {
                    let _ = tells.send(Err(error));
                    return;
                }
            };
            let _ = tells.send(Ok(()));
            for job in asked {
                job(&held);
            }
        };
        let thread = std::thread::Builder::new()
            .name(name)
            .spawn(work)
            .map_err(WorkerError::NoThread)?;
        let worker = Worker {
            jobs: Some(jobs),
            thread: Some(thread),
        };
        Ok((worker, Answer(made)))
    }

    /// Asks for `job` and does not wait for it.
    pub fn ask<R: Send + 'static>(&self, job: impl FnOnce(&T) -> R + Send + 'static) -> Answer<R> {
        let (answers, answer) = bounded(1);
        let job = move |held: &T| {
            // Nobody waits any more where another worker has failed.
            let _ = answers.send(job(held));
        };
        if let Some(jobs) = &self.jobs {
            let _ = jobs.send(Box::new(job));
        }
        Answer(answer)
    }
}

impl<T: ?Sized> Drop for Worker<T> {
    fn drop(&mut self) {
        self.jobs = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    enum Failure {
        #[error("no room")]
        NoRoom,
        #[error(transparent)]
        Worker(#[from] WorkerError),
    }

    fn holding(text: &'static str) -> Worker<str> {
        let make: Make<str, Failure> = Box::new(move || Ok(text.into()));
        start("holds", vec![make]).unwrap().remove(0)
    }

    #[test]
    fn answers_come_to_whom_they_belong() {
        let worker = holding("seven");
        let answers: Vec<_> = (0..20)
            .map(|number| worker.ask(move |held| held.len() + number))
            .collect();
        for (number, answer) in answers.into_iter().enumerate().rev() {
            assert_eq!(answer.wait().unwrap(), 5 + number);
        }
    }

    #[test]
    fn an_answer_that_nobody_waits_for_stops_nothing() {
        let worker = holding("seven");
        drop(worker.ask(|held| held.len()));
        assert_eq!(worker.ask(|held| held.len()).wait().unwrap(), 5);
    }

    #[test]
    fn what_cannot_be_made_says_why() {
        let makes: Vec<Make<str, Failure>> = vec![
            Box::new(|| Ok("seven".into())),
            Box::new(|| Err(Failure::NoRoom)),
        ];
        let error = start("fails", makes).err().unwrap();
        assert_eq!(error.to_string(), "no room");
    }
}
