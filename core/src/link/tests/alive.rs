//! The question whether an older link lives, between links that belong to nodes.

use core::time::Duration;

use super::nodes::{BOTH, Nodes, Side, assert_word};
use crate::error::{By, Reason};
use crate::node::{FromLink, ToLink};
use crate::phase::Phase;
use crate::refusal::Refusal;
use crate::wire::frame::FrameWriter;

#[test]
fn c2_the_dialler_that_wins_is_told() {
    for simultaneous in [true, false] {
        let mut nodes = Nodes::new();
        nodes.run();
        nodes.say(Side::A, ToLink::Admit { simultaneous: false });
        nodes.run();
        nodes.say(Side::B, ToLink::Admit { simultaneous });
        nodes.run();
        assert_eq!(nodes.a.link.phase(), Phase::Established);
        assert_eq!(nodes.a.link.peer().unwrap().simultaneous, simultaneous);
        assert!(!nodes.b.link.peer().unwrap().simultaneous);
    }
}

/// Both sides at the moment when the acceptor has asked and the dialler has been told so.
fn asked(nodes: &mut Nodes) {
    nodes.run();
    nodes.say(Side::A, ToLink::Admit { simultaneous: false });
    nodes.run();
    nodes.a.words.clear();
    nodes.b.words.clear();
    nodes.say(Side::B, ToLink::AskAlive);
    assert_eq!(nodes.b.link.phase(), Phase::Alive);
    nodes.run();
    assert_word!(nodes.a, FromLink::AliveAsked);
    assert_eq!(nodes.a.link.phase(), Phase::Alive);
    nodes.b.none();
}

#[test]
fn c3_the_dialler_goes_on_and_the_acceptor_decides_again() {
    for (go_on, verdict) in [
        (true, ToLink::Admit { simultaneous: false }),
        (true, ToLink::Admit { simultaneous: true }),
        (true, ToLink::Refuse(Refusal::Alive)),
        (false, ToLink::Refuse(Refusal::Alive)),
    ] {
        // Padding hides the question like any other record.
        let mut nodes = Nodes::with(|builder| builder.padding(crate::config::Padding::Block(512)));
        asked(&mut nodes);
        nodes.say(Side::A, ToLink::AnswerAlive { go_on });
        assert_eq!(nodes.a.link.phase(), Phase::Status);
        nodes.run();
        let FromLink::AliveAnswered { goes_on } = nodes.b.word() else { panic!("no answer") };
        assert_eq!((goes_on, nodes.b.link.phase()), (go_on, Phase::Admission));
        let admits = matches!(verdict, ToLink::Admit { .. });
        nodes.say(Side::B, verdict);
        nodes.run();
        if admits {
            for side in BOTH {
                assert_word!(nodes.end(side), FromLink::Established);
                assert_word!(nodes.end(side), FromLink::Confirmed);
            }
        } else {
            for side in BOTH {
                assert_eq!(nodes.end(side).ended().0.reason, Reason::Refused(Refusal::Alive));
            }
        }
    }
}

#[test]
fn c3_the_question_has_a_deadline_at_both_sides() {
    let mut nodes = Nodes::new();
    asked(&mut nodes);
    nodes.pass(Duration::from_millis(6999));
    assert!(nodes.a.words.is_empty() && nodes.b.words.is_empty());
    nodes.pass(Duration::from_millis(1));
    for side in BOTH {
        let closed = nodes.end(side).ended().0;
        assert_eq!((closed.reason, closed.phase), (Reason::HandshakeTimeout, Phase::Alive));
    }
}

#[test]
fn c3_the_acceptor_may_refuse_while_it_waits_for_the_answer() {
    let mut nodes = Nodes::new();
    asked(&mut nodes);
    nodes.say(Side::B, ToLink::Admit { simultaneous: false });
    assert_eq!(nodes.b.link.phase(), Phase::Alive, "it asked, so it hears the answer first");
    nodes.say(Side::B, ToLink::Refuse(Refusal::ShuttingDown));
    nodes.run();
    assert_eq!(nodes.b.ended().0.reason, Reason::Refused(Refusal::ShuttingDown));
    // The dialler reads it once it has answered.
    nodes.a.none();
    nodes.say(Side::A, ToLink::AnswerAlive { go_on: true });
    nodes.run();
    let closed = nodes.a.ended().0;
    assert_eq!((closed.reason, closed.by), (Reason::Refused(Refusal::ShuttingDown), By::Peer));
}

#[test]
fn c3_words_that_do_not_fit_the_phase_do_nothing() {
    let wrong = |alive: bool| {
        let mut words = alloc::vec![ToLink::AskAlive, ToLink::Probe, ToLink::AckAdvert { version: 1 }];
        if !alive {
            words.push(ToLink::AnswerAlive { go_on: true });
        }
        words
    };
    // The dialler, waiting for its node.
    let mut nodes = Nodes::new();
    nodes.run();
    for word in wrong(false) {
        nodes.say(Side::A, word);
        nodes.run();
        assert_eq!(nodes.a.link.phase(), Phase::Admission);
    }
    nodes.say(Side::A, ToLink::Admit { simultaneous: false });
    nodes.run();
    // The acceptor, asking twice: once over.
    nodes.say(Side::B, ToLink::AnswerAlive { go_on: false });
    nodes.say(Side::B, ToLink::AskAlive);
    nodes.run();
    for word in wrong(true) {
        nodes.say(Side::A, word);
        nodes.run();
        assert_eq!(nodes.a.link.phase(), Phase::Alive);
    }
    nodes.say(Side::A, ToLink::AnswerAlive { go_on: true });
    nodes.say(Side::A, ToLink::AnswerAlive { go_on: false });
    nodes.run();
    nodes.say(Side::B, ToLink::AskAlive);
    assert_eq!(nodes.b.link.phase(), Phase::Admission);
    nodes.say(Side::B, ToLink::Admit { simultaneous: false });
    nodes.run();
    for side in BOTH {
        for word in wrong(false) {
            nodes.say(side, word);
        }
        nodes.say(side, ToLink::Refuse(Refusal::Denied));
        nodes.run();
        assert_eq!(nodes.end(side).link.phase(), Phase::Established);
    }
}

/// Writes the frames of a record.
type Fill = fn(&mut FrameWriter<'_>);

#[test]
fn c3_an_answer_that_nobody_asked_for_and_what_is_no_answer_end_the_link() {
    // Established: nobody asks any more.
    for side in BOTH {
        let mut nodes = Nodes::established();
        nodes.smuggle(side, |writer| writer.alive_reply(true));
        let other = if side == Side::A { Side::B } else { Side::A };
        let closed = nodes.end(other).link.closed().cloned().expect("a violation");
        assert!(matches!(closed.reason, Reason::Violation(_)), "{closed}");
    }
    // Asked: nothing but the answer, with nothing beside it.
    let wrong: [Fill; 6] = [
        |writer| writer.ping(1),
        |writer| writer.pad(9),
        |writer| writer.status_alive(),
        |writer| {
            writer.alive_reply(true);
            writer.alive_reply(true);
        },
        |writer| {
            writer.alive_reply(false);
            writer.ping(1);
        },
        |writer| writer.raw(&[0x02, 0, 0, 1, 2]),
    ];
    for fill in wrong {
        let mut nodes = Nodes::new();
        asked(&mut nodes);
        nodes.smuggle(Side::A, fill);
        let closed = nodes.b.link.closed().cloned().expect("a violation");
        assert!(matches!(closed.reason, Reason::Violation(_)), "{closed}");
    }
    // The question again, or with something beside it.
    let wrong: [Fill; 3] = [
        |writer| writer.status_alive(),
        |writer| {
            writer.status_alive();
            writer.ping(1);
        },
        // The asker's answer to its own question is none: it is for the dialler to give.
        |writer| {
            writer.status_alive();
            writer.alive_reply(true);
        },
    ];
    for (again, fill) in [true, false, false].into_iter().zip(wrong) {
        let mut nodes = Nodes::new();
        if again {
            asked(&mut nodes);
            nodes.say(Side::A, ToLink::AnswerAlive { go_on: true });
        } else {
            nodes.run();
            nodes.say(Side::A, ToLink::Admit { simultaneous: false });
        }
        nodes.run();
        nodes.smuggle(Side::B, fill);
        let closed = nodes.a.link.closed().cloned().expect("a violation");
        let Reason::Violation(violation) = &closed.reason else { panic!("{closed}") };
        let behind = violation.what.what == "a frame behind the question whether an older link lives";
        assert_eq!(behind, !again, "{closed}");
    }
}
