//! Things for one task, which is woken when there are any.

use std::collections::VecDeque;
use std::sync::Mutex;
use std::task::{Context, Poll, Waker};

use super::{lock, remember, wake};

/// A queue that one task empties.
#[derive(Debug)]
pub(crate) struct Mailbox<T>(Mutex<Inside<T>>);

#[derive(Debug)]
struct Inside<T> {
    items: VecDeque<T>,
    waker: Option<Waker>,
    closed: bool,
}

impl<T> Default for Mailbox<T> {
    fn default() -> Self {
        Self(Mutex::new(Inside { items: VecDeque::new(), waker: None, closed: false }))
    }
}

impl<T> Mailbox<T> {
    /// Puts something in; gives it back when nobody will take it.
    pub(crate) fn put(&self, item: T) -> Result<(), T> {
        let mut inside = lock(&self.0);
        if inside.closed {
            return Err(item);
        }
        inside.items.push_back(item);
        let waker = inside.waker.take();
        drop(inside);
        wake(waker);
        Ok(())
    }

    /// Takes what came first.
    pub(crate) fn poll_take(&self, context: &mut Context<'_>) -> Poll<T> {
        let mut inside = lock(&self.0);
        if let Some(item) = inside.items.pop_front() {
            return Poll::Ready(item);
        }
        let replaced = remember(&mut inside.waker, context);
        drop(inside);
        drop(replaced);
        Poll::Pending
    }

    pub(crate) fn is_empty(&self) -> bool {
        lock(&self.0).items.is_empty()
    }

    /// Takes nothing more, and gives what is left.
    pub(crate) fn close(&self) -> VecDeque<T> {
        let mut inside = lock(&self.0);
        inside.closed = true;
        std::mem::take(&mut inside.items)
    }
}

/// Wakes one task: at once if it waits, else as soon as it does.
#[derive(Debug, Default)]
pub(crate) struct Bell(Mutex<(bool, Option<Waker>)>);

impl Bell {
    pub(crate) fn ring(&self) {
        let mut bell = lock(&self.0);
        bell.0 = true;
        let waker = bell.1.take();
        drop(bell);
        wake(waker);
    }

    /// Ready if it has been rung since this was ready last.
    pub(crate) fn poll_rung(&self, context: &mut Context<'_>) -> Poll<()> {
        let mut bell = lock(&self.0);
        if std::mem::take(&mut bell.0) {
            return Poll::Ready(());
        }
        let replaced = remember(&mut bell.1, context);
        drop(bell);
        drop(replaced);
        Poll::Pending
    }
}
