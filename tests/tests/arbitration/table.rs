//! The whole table of the decisions.

use handclasp::node::arbitration::{
    Dialler, LinkFacts, Standing, Verdict, answered, decide, goes_on, own_dial_over, proceed,
};
use handclasp::{NodeId, Refusal};
use handclasp_sim::id;

const DIALLERS: [Dialler; 2] = [Dialler::Own, Dialler::Peer];

/// The two ids, the smaller one first.
fn ids() -> (NodeId, NodeId) {
    let (one, other) = (id(1), id(2));
    (one.min(other), one.max(other))
}

fn peers_dial(incarnation: u64, sequence: u64) -> LinkFacts {
    LinkFacts { dialler: Dialler::Peer, incarnation, sequence }
}

/// What the acceptor says to a dial of the peer's with the incarnation 7 and the sequence 5, as the table in
/// docs/arbitration.md has it.
fn expected(own_is_greater: bool, standing: Standing, deferred: bool) -> Verdict {
    let of_this_process = standing.link.filter(|link| link.incarnation == 7);
    match (of_this_process.map(|link| link.dialler), standing.own_dial, own_is_greater) {
        (Some(Dialler::Own), _, _) if deferred => Verdict::Refuse(Refusal::Simultaneous),
        (Some(Dialler::Own), _, _) => Verdict::AskAlive,
        (Some(Dialler::Peer), _, _) => {
            let is_later = of_this_process.is_some_and(|link| [0, 4].contains(&link.sequence));
            if is_later { Verdict::AskAlive } else { Verdict::Refuse(Refusal::Alive) }
        }
        (None, false, _) => Verdict::Admit { simultaneous: false },
        (None, true, true) => Verdict::Defer,
        (None, true, false) => Verdict::Admit { simultaneous: true },
    }
}

#[test]
fn c5_the_whole_table_of_the_acceptors_decision() {
    let (smaller, greater) = ids();
    let new = peers_dial(7, 5);
    // Around the new one's, and the ends of the range.
    let incarnations = [0, 6, 7, 8, u64::MAX];
    let sequences = [0, 4, 5, 6, u64::MAX];
    let mut links = vec![None];
    for dialler in DIALLERS {
        for incarnation in incarnations {
            for sequence in sequences {
                links.push(Some(LinkFacts { dialler, incarnation, sequence }));
            }
        }
    }
    let mut cases = 0;
    for link in links {
        for own_dial in [false, true] {
            let standing = Standing { link, own_dial };
            for deferred in [false, true] {
                for (own, peer) in [(smaller, greater), (greater, smaller)] {
                    let verdict = decide(own, peer, new, standing, deferred);
                    assert_eq!(verdict, expected(own > peer, standing, deferred), "{standing:?}, {deferred}");
                    cases += 1;
                }
            }
        }
    }
    assert_eq!(cases, 51 * 8);
}

#[test]
fn c2_of_two_dials_only_the_one_by_the_greater_id_is_taken_at_once() {
    let (smaller, greater) = ids();
    let both = Standing { link: None, own_dial: true };
    let dial = peers_dial(1, 1);
    assert_eq!(decide(smaller, greater, dial, both, false), Verdict::Admit { simultaneous: true });
    assert_eq!(decide(greater, smaller, dial, both, false), Verdict::Defer);
    // The own dial has won, or has come to nothing.
    let won = Standing { link: Some(LinkFacts { dialler: Dialler::Own, ..dial }), own_dial: false };
    assert_eq!(decide(greater, smaller, dial, won, true), Verdict::Refuse(Refusal::Simultaneous));
    assert_eq!(
        decide(greater, smaller, dial, Standing::default(), true),
        Verdict::Admit { simultaneous: false }
    );
}

#[test]
fn c3_a_dialler_goes_on_unless_a_link_with_the_same_process_stands() {
    for dialler in DIALLERS {
        for sequence in [0, 4, 5, 6, u64::MAX] {
            let new = LinkFacts { dialler: Dialler::Own, incarnation: 7, sequence: 5 };
            let same = Some(LinkFacts { dialler, incarnation: 7, sequence });
            let former = Some(LinkFacts { dialler, incarnation: 6, sequence });
            assert_eq!((proceed(new, same), goes_on(new, same)), (false, false));
            assert_eq!((proceed(new, former), goes_on(new, former)), (true, true));
            assert_eq!((proceed(new, None), goes_on(new, None)), (true, true));
        }
    }
}

#[test]
fn c3_an_answer_is_heard_and_the_own_dial_with_it() {
    let (smaller, greater) = ids();
    let new = peers_dial(7, 5);
    for (own, peer) in [(smaller, greater), (greater, smaller)] {
        for own_dial in [false, true] {
            assert_eq!(answered(own, peer, new, own_dial, false), Verdict::Refuse(Refusal::Alive));
            let alone = decide(own, peer, new, Standing { link: None, own_dial }, false);
            assert_eq!(answered(own, peer, new, own_dial, true), alone);
        }
    }
    assert_eq!(answered(greater, smaller, new, true, true), Verdict::Defer);
}

#[test]
fn c3_what_a_dialler_has_said_holds_when_the_own_dial_is_over() {
    let (smaller, greater) = ids();
    let new = peers_dial(7, 5);
    let over = |link: Option<LinkFacts>, goes_on| {
        own_dial_over(greater, smaller, new, Standing { link, own_dial: false }, goes_on)
    };
    let admit = Verdict::Admit { simultaneous: false };
    let earlier = Some(peers_dial(7, 4));
    assert_eq!((over(earlier, false), over(earlier, true)), (Verdict::AskAlive, admit.clone()));
    assert_eq!((over(None, false), over(None, true)), (admit.clone(), admit));
    let own = Some(LinkFacts { dialler: Dialler::Own, ..new });
    let simultaneous = Verdict::Refuse(Refusal::Simultaneous);
    assert_eq!((over(own, false), over(own, true)), (simultaneous.clone(), simultaneous));
}
