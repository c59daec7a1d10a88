//! Rules that look as good as the library's and are not. For each the search must find why: a check that
//! finds nothing here would be worth nothing there.
//!
//! The first four are faults of other libraries, the next three those that the design warns of, and the last
//! six are the library's rules without a detail that only a search shows to matter.

use handclasp::node::arbitration::{self, LinkFacts, Standing, Verdict};
use handclasp::{NodeId, Refusal};

use crate::properties::{Checked, Property};
use crate::rules::{Milestone, Rules};
use crate::step::{Model, Step};

/// Asserts that the search finds a way on which `property` does not hold, with that many faults and with no
/// fewer, and prints it.
fn found(rules: &dyn Rules, property: Property, faults: u8) {
    found_with(|_| true, rules, property, faults);
}

/// The same with only some of the faults.
fn found_with(can_happen: fn(Step) -> bool, rules: &dyn Rules, property: Property, faults: u8) {
    if let Some(fewer) = faults.checked_sub(1) {
        let model = Model { can_happen, ..Model::new(rules, [true, true], fewer) };
        assert!(Checked::new(&model).violation(property).is_none(), "{fewer} faults are enough");
    }
    let model = Model { can_happen, ..Model::new(rules, [true, true], faults) };
    let mut checked = Checked::new(&model);
    let violation = checked.violation(property);
    println!("{} worlds", checked.graph.len());
    let violation = violation.unwrap_or_else(|| panic!("{property:?} holds"));
    assert_eq!(violation.property, property);
    println!("{violation}");
}

/// <https://github.com/libp2p/rust-libp2p/issues/752>: each of two nodes that dial each other takes the
/// other's connection and closes its own.
struct ClosesItsOwn;

impl Rules for ClosesItsOwn {
    fn decide(&self, own: NodeId, peer: NodeId, new: LinkFacts, standing: Standing) -> Verdict {
        arbitration::decide(own, peer, new, Standing { own_dial: false, ..standing }, false)
    }

    fn drops_revealed_dial(&self) -> bool {
        true
    }
}

#[test]
fn c5_variant_both_sides_close_the_duplicate() {
    found(&ClosesItsOwn, Property::WholeDialsMakeALink, 0);
    found(&ClosesItsOwn, Property::EveryWayEnds, 0);
}

/// <https://github.com/slawlor/ractor/pull/451>: the session of a node ends when somebody says its name.
struct BelievesNames;

impl Rules for BelievesNames {
    fn heeds_claims(&self) -> bool {
        true
    }
}

#[test]
fn c5_variant_a_name_that_nobody_proved_evicts() {
    found(&BelievesNames, Property::AClaimChangesNothing, 0);
}

/// <https://github.com/eclipse-zenoh/zenoh/issues/2806>: a peer whose session has expired connects again, and
/// the connection is merged into the session that has not expired here.
struct Merges;

impl Rules for Merges {
    fn supersedes(&self, _: Milestone) -> bool {
        false
    }

    fn merges(&self) -> bool {
        true
    }
}

#[test]
fn c5_variant_expiry_at_one_side_splits_a_session_for_good() {
    found_with(|step| matches!(step, Step::GiveUp(..)), &Merges, Property::OneLinkInTheEnd, 1);
}

/// <https://github.com/n0-computer/iroh-gossip/issues/10>: whoever has a connection is refused another one.
struct RefusesTheRestarted;

impl Rules for RefusesTheRestarted {
    fn decide(&self, own: NodeId, peer: NodeId, new: LinkFacts, standing: Standing) -> Verdict {
        match standing.link {
            Some(_) => Verdict::Refuse(Refusal::Alive),
            None => arbitration::decide(own, peer, new, standing, false),
        }
    }

    fn mixes_incarnations(&self) -> bool {
        true
    }
}

#[test]
fn c5_variant_a_restarted_peer_is_refused_until_the_old_link_times_out() {
    found_with(|step| matches!(step, Step::Restart(_)), &RefusesTheRestarted, Property::EveryWayEnds, 1);
}

/// A dial that would lose is refused before the one that would win has won.
struct RefusesAtOnce;

impl Rules for RefusesAtOnce {
    fn decide(&self, own: NodeId, peer: NodeId, new: LinkFacts, standing: Standing) -> Verdict {
        match arbitration::decide(own, peer, new, standing, false) {
            Verdict::Defer => Verdict::Refuse(Refusal::Simultaneous),
            verdict => verdict,
        }
    }
}

#[test]
fn c5_variant_refusing_at_once_leaves_nothing() {
    found(&RefusesAtOnce, Property::ABrokenDialCostsNoOther, 1);
}

/// Each node first waits for the end of its own dial, be it the winner or the loser.
struct WaitsForTheLoser;

impl Rules for WaitsForTheLoser {
    fn decide(&self, own: NodeId, peer: NodeId, new: LinkFacts, standing: Standing) -> Verdict {
        match arbitration::decide(own, peer, new, standing, false) {
            Verdict::Admit { simultaneous: true } => Verdict::Defer,
            verdict => verdict,
        }
    }
}

#[test]
fn c5_variant_waiting_for_the_loser_waits_for_ever() {
    found(&WaitsForTheLoser, Property::TheWinnerWaitsForNobody, 0);
    found(&WaitsForTheLoser, Property::OneLinkInTheEnd, 0);
}

/// The older link ends when the newer one is taken.
struct EndsTheLoserEarly;

impl Rules for EndsTheLoserEarly {
    fn supersedes(&self, when: Milestone) -> bool {
        when == Milestone::Admitted
    }
}

#[test]
fn c5_variant_ending_the_loser_before_the_winner_is_confirmed_leaves_nothing() {
    found(&EndsTheLoserEarly, Property::ALivingLinkStays, 1);
}

/// The dialler's "it is dead" counts for more than a dial of the acceptor's own that has begun meanwhile.
struct AnswerForgetsTheOwnDial;

impl Rules for AnswerForgetsTheOwnDial {
    fn answered(&self, own: NodeId, peer: NodeId, new: LinkFacts, _: bool, goes_on: bool) -> Verdict {
        arbitration::answered(own, peer, new, false, goes_on)
    }
}

#[test]
fn c5_variant_an_answer_that_forgets_the_own_dial() {
    found(&AnswerForgetsTheOwnDial, Property::OneLinkInTheEnd, 1);
}

/// The dialler ends its older link, too, when it has been accepted.
struct DiallerEndsTheLoser;

impl Rules for DiallerEndsTheLoser {
    fn supersedes(&self, when: Milestone) -> bool {
        when != Milestone::Admitted
    }
}

#[test]
fn c5_variant_a_dialler_that_ends_its_older_link_may_end_the_only_one() {
    found(&DiallerEndsTheLoser, Property::ALivingLinkStays, 1);
}

/// A peer that has been restarted is taken, even if this node's own dial would win.
struct RestartedPeerBeatsTheOwnDial;

impl Rules for RestartedPeerBeatsTheOwnDial {
    fn decide(&self, own: NodeId, peer: NodeId, new: LinkFacts, standing: Standing) -> Verdict {
        match standing.link {
            Some(old) if old.incarnation != new.incarnation => Verdict::Admit { simultaneous: false },
            _ => arbitration::decide(own, peer, new, standing, false),
        }
    }

    fn mixes_incarnations(&self) -> bool {
        true
    }
}

#[test]
fn c5_variant_a_restart_that_beats_the_own_dial_leaves_two() {
    found(&RestartedPeerBeatsTheOwnDial, Property::OneLinkInTheEnd, 1);
}

/// A link with a process that is gone hides the one with the process that runs.
struct MixesIncarnations;

impl Rules for MixesIncarnations {
    fn mixes_incarnations(&self) -> bool {
        true
    }
}

#[test]
fn c5_variant_a_link_of_a_former_process_hides_the_living_one() {
    found(&MixesIncarnations, Property::OneLinkInTheEnd, 1);
}

/// The order of links is the order in which the node hears of them.
struct CountsFromTheWord;

impl Rules for CountsFromTheWord {
    fn counts_from_the_word(&self) -> bool {
        true
    }
}

#[test]
fn c5_variant_links_counted_from_the_word_end_each_other() {
    found(&CountsFromTheWord, Property::EveryWayEnds, 1);
}

/// Who was asked whether an older link is dead, and then deferred, is asked again: a link asks once, so the
/// second question is never put.
struct AsksAgain;

impl Rules for AsksAgain {
    fn own_dial_over(
        &self,
        own: NodeId,
        peer: NodeId,
        new: LinkFacts,
        standing: Standing,
        _: bool,
    ) -> Verdict {
        arbitration::own_dial_over(own, peer, new, standing, false)
    }
}

#[test]
fn c5_variant_an_answer_that_is_forgotten_is_waited_for() {
    found(&AsksAgain, Property::OneLinkInTheEnd, 2);
}
