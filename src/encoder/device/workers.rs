//! Threads that each hold something of their own, such as a model on a device, and work on it in the order in
//! which they are asked.

use std::io;
use std::thread::JoinHandle;

use crossbeam_channel::{Receiver, Sender, bounded, unbounded};

/// Work on what a worker holds.
type Job<T> = Box<dyn FnOnce(&T) + Send>;

/// A thread that holds a `T`. It ends when it is dropped, after what it was asked for.
pub struct Worker<T: ?Sized> {
    jobs: Option<Sender<Job<T>>>,
    thread: Option<JoinHandle<()>>,
}

impl<T: ?Sized + 'static> Worker<T> {
    /// Starts a thread that makes what it will hold, and so decides itself when it may be made.
    ///
    /// # Errors
    ///
    /// When there can be no more threads. What `make` fails with is told by [`Making::wait`].
    pub fn start<E: Send + 'static>(
        name: String,
        make: impl FnOnce() -> Result<Box<T>, E> + Send + 'static,
    ) -> io::Result<Making<T, E>> {
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
        let thread = std::thread::Builder::new().name(name).spawn(work)?;
        Ok(Making {
            worker: Worker {
                jobs: Some(jobs),
                thread: Some(thread),
            },
            made,
        })
    }

    /// Asks for `job`, whose result can be received once it is there, or an error if the thread has ended.
    pub fn ask<R: Send + 'static>(
        &self,
        job: impl FnOnce(&T) -> R + Send + 'static,
    ) -> Receiver<R> {
        let (answers, answer) = bounded(1);
        let job = move |held: &T| {
            // Nobody waits any more where another worker has failed.
            let _ = answers.send(job(held));
        };
        if let Some(jobs) = &self.jobs {
            let _ = jobs.send(Box::new(job));
        }
        answer
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

/// A worker that is making what it will hold.
pub struct Making<T: ?Sized, E> {
    worker: Worker<T>,
    made: Receiver<Result<(), E>>,
}

impl<T: ?Sized, E> Making<T, E> {
    /// The worker, once it holds something.
    ///
    /// # Errors
    ///
    /// What it failed with; none if its thread has ended.
    pub fn wait(self) -> Result<Worker<T>, Option<E>> {
        match self.made.recv() {
            Ok(Ok(())) => Ok(self.worker),
            Ok(Err(error)) => Err(Some(error)),
            Err(_) => Err(None),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holding(text: &'static str) -> Worker<str> {
        let making = Worker::start("holds".to_owned(), move || Ok::<_, ()>(text.into()));
        making.unwrap().wait().ok().unwrap()
    }

    #[test]
    fn answers_come_to_whom_they_belong() {
        let worker = holding("seven");
        let answers: Vec<_> = (0..20)
            .map(|number| worker.ask(move |held| held.len() + number))
            .collect();
        for (number, answer) in answers.into_iter().enumerate().rev() {
            assert_eq!(answer.recv(), Ok(5 + number));
        }
    }

    #[test]
    fn an_answer_that_nobody_waits_for_stops_nothing() {
        let worker = holding("seven");
        drop(worker.ask(|held| held.len()));
        assert_eq!(worker.ask(|held| held.len()).recv(), Ok(5));
    }

    #[test]
    fn what_cannot_be_made_says_why() {
        let failing = Worker::<str>::start("fails".to_owned(), || Err("no room")).unwrap();
        assert_eq!(failing.wait().err(), Some(Some("no room")));
    }
}
