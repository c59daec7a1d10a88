//! The streams of a link, between its machine and their handles.

use std::collections::BTreeMap;
use std::prelude::v1::*;
use std::sync::Arc;

use super::Driver;
use crate::runtime::Runtime;
use crate::runtime::link::Hold;
use crate::runtime::shared::Open;
use crate::runtime::streams::{ByteStream, OpenError, Pipe};
use crate::{Link as Core, Reason, StreamId, Why};

/// What the machine says of a stream.
#[derive(Clone, Copy, Debug)]
pub(super) enum StreamNews {
    /// It can be read or written again.
    Moves(StreamId),
    Stopped(StreamId, u32),
}

/// The streams that somebody holds.
#[derive(Debug, Default)]
pub(super) struct Streams(BTreeMap<StreamId, Arc<Pipe>>);

impl Streams {
    /// Lets somebody hold a stream of the link.
    pub(super) fn add(&mut self, id: StreamId) -> Arc<Pipe> {
        let pipe = Pipe::new(id);
        self.0.insert(id, Arc::clone(&pipe));
        pipe
    }

    /// Handles have something to do.
    pub(super) fn serve(&mut self, called: &[Arc<Pipe>], link: &mut Core) {
        for pipe in called {
            if self.0.contains_key(&pipe.id) && !pipe.serve(link) {
                self.0.remove(&pipe.id);
            }
        }
    }

    /// The machine has something to say.
    pub(super) fn hear(&mut self, news: &[StreamNews], link: &mut Core) {
        for news in news {
            let (StreamNews::Moves(id) | StreamNews::Stopped(id, _)) = news;
            let Some(pipe) = self.0.get(id) else { continue };
            if let StreamNews::Stopped(_, code) = news {
                pipe.stopped(*code);
            }
            if !pipe.serve(link) {
                self.0.remove(id);
            }
        }
    }

    /// Gives memory back that idle streams do not need.
    pub(super) fn shrink(&self) {
        self.0.values().for_each(|pipe| pipe.shrink());
    }

    /// The link has ended.
    pub(super) fn end(&mut self, link: &mut Core) {
        for (_, pipe) in std::mem::take(&mut self.0) {
            pipe.end(link);
        }
    }
}

impl<S, R: Runtime> Driver<S, R> {
    pub(super) fn open(&mut self, opens: Vec<Open>) {
        for Open { name, priority, answer } in opens {
            let opened = match (self.link.open_stream(&name, priority), &self.peer) {
                (Ok(id), Some(peer)) => {
                    let hold = Hold::new(&self.shared);
                    let pipe = self.streams.add(id);
                    Ok(ByteStream::new(&pipe, &self.shared, peer, name, Some(hold)))
                }
                (Err(Why::LongServiceName), _) => Err(OpenError::LongName),
                (Err(Why::NoStreams), _) => Err(OpenError::NoStreams),
                (Err(Why::TooManyStreams { limit }), _) => Err(OpenError::TooMany { limit }),
                _ => {
                    let reason = self.shared.why().cloned().unwrap_or(Reason::Dropped);
                    Err(OpenError::LinkClosed { reason })
                }
            };
            // Whoever does not wait any more drops the stream.
            let _ = answer.send(opened);
        }
    }
}
