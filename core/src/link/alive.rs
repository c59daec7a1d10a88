//! The question whether an older link still lives: the acceptor asks it with STATUS, the dialler answers with
//! `ALIVE_REPLY`, and the acceptor decides. Each goes once at most (docs/wire.md §3.8).

use alloc::vec::Vec;

use super::Link;
use crate::error::{Reason, Violation};
use crate::node::FromLink;
use crate::phase::Phase;
use crate::wire::Malformed;
use crate::wire::frame::{Frame, FrameWriter};

impl Link {
    /// The acceptor asks, instead of admitting. A second time it does not.
    pub(super) fn ask_alive(&mut self) {
        if self.phase != Phase::Admission || self.is_initiator() || self.alive_asked() {
            return;
        }
        self.note_alive_asked();
        let mut status = Vec::new();
        FrameWriter::new(&mut status).status_alive();
        if let Some(session) = &mut self.session {
            session.control.alone = Some(status);
        }
        self.enter_step(Phase::Alive);
    }

    /// The question has come to the dialler.
    pub(super) fn on_alive_asked(&mut self) -> Result<(), Reason> {
        if self.alive_asked() {
            let what = Malformed::new("STATUS: asks a second time whether an older link lives");
            return Err(Reason::Violation(Violation { phase: self.phase, what }));
        }
        self.note_alive_asked();
        self.enter_step(Phase::Alive);
        self.tell_node(|| FromLink::AliveAsked);
        Ok(())
    }

    /// The dialler answers.
    pub(super) fn answer_alive(&mut self, go_on: bool) {
        if self.phase != Phase::Alive || !self.is_initiator() {
            return;
        }
        let mut reply = Vec::new();
        FrameWriter::new(&mut reply).alive_reply(go_on);
        if let Some(session) = &mut self.session {
            session.control.alone = Some(reply);
        }
        self.enter_step(Phase::Status);
    }

    /// A dialler without a node knows of no other link: it goes on.
    pub(super) fn answer_alive_without_node(&mut self) {
        if self.managed.is_none() {
            self.answer_alive(true);
        }
    }

    /// A frame of a record that has to hold the question or its answer, and nothing beside it that means
    /// anything.
    pub(super) fn on_alive_frame(&mut self, frame: Frame<'_>) -> Result<(), Reason> {
        let what = match (self.phase, frame) {
            (Phase::Alive, Frame::AliveReply { go_on }) if !self.is_initiator() => {
                self.enter_step(Phase::Admission);
                self.tell_node(|| FromLink::AliveAnswered { goes_on: go_on });
                return Ok(());
            }
            (Phase::Alive, _) if !self.is_initiator() => "the first frame is not ALIVE_REPLY",
            (_, Frame::Pad | Frame::Skipped) => return Ok(()),
            (Phase::Alive, _) => "a frame behind the question whether an older link lives",
            _ => "a frame behind ALIVE_REPLY",
        };
        Err(Reason::Violation(Violation { phase: self.phase, what: Malformed::new(what) }))
    }

    /// Whether the question was asked, here or there.
    pub(super) fn alive_asked(&self) -> bool {
        self.handshake.as_ref().is_some_and(|handshake| handshake.alive_asked)
    }

    fn note_alive_asked(&mut self) {
        if let Some(handshake) = &mut self.handshake {
            handshake.alive_asked = true;
        }
    }
}
