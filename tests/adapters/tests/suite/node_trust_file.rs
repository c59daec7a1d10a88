//! Nodes that go by a trust file.

use std::time::{Duration, SystemTime};

use handclasp::node::trust::{TrustFileError, UnixTime};
use handclasp::node::{NodeEvent, Permanence};
use handclasp::runtime::{Node, NodeBuilder, Runtime, StartError, TrustError};
use handclasp::{NodeId, Reason};
use handclasp_adapters::nodes::{Folder, address, echo, event, id, key, node, policy, start};
use handclasp_adapters::{Host, sleep, soon, until};

fn by_file<R: Runtime>(folder: &Folder) -> NodeBuilder<R> {
    Node::builder(key(2))
        .policy(policy())
        .trust_file(folder.list())
        .trust_reload(Duration::from_millis(20))
        .services(&echo())
        .listen("127.0.0.1:0")
}

fn line(id: NodeId, rest: &str) -> String {
    format!("{id}{rest}\n")
}

async fn i4_a_trust_file_is_taken_over_live_and_a_broken_one_changes_nothing<H: Host>() {
    let folder = Folder::new("live");
    // There is none yet: nobody is trusted.
    let ben = start(by_file::<H>(&folder)).await;
    let anna = start(node::<H>(1).peer(id(2), [address(&ben)], Permanence::Permanent)).await;
    let mut events = anna.events();
    let peer = anna.peer(id(2));
    assert!(soon(peer.connect()).await.is_err() && !ben.is_trusted(id(1)));

    folder.write(&format!("# our nodes\n{}", line(id(1), " added=2026-03-01 label=anna's")));
    until("trusted", || ben.is_trusted(id(1))).await;
    let link = soon(peer.connect()).await.expect("a link");
    assert_eq!(soon(peer.call("echo", "in")).await.expect("an answer"), "in");

    // A mistake neither adds a peer nor takes one away.
    folder.write(&format!("{}{}", line(id(3), ""), line(id(1), " expirse=2020-01-01")));
    sleep(Duration::from_millis(200)).await;
    assert!(ben.is_trusted(id(1)) && !ben.is_trusted(id(3)));
    assert_eq!(soon(peer.call("echo", "still")).await.expect("an answer"), "still");

    // Taken off: revoked. One who has run out is off as well.
    folder.write(&format!("{}{}", line(id(3), ""), line(id(4), " expires=2020-01-01")));
    assert_eq!(soon(link.closed()).await.reason, Reason::Revoked);
    event(&mut events, |event| matches!(event, NodeEvent::Unlinked { .. }).then_some(())).await;
    assert!(!ben.is_trusted(id(1)) && ben.is_trusted(id(3)) && !ben.is_trusted(id(4)));

    // Expiry comes by itself.
    let soon_over = UnixTime::from(SystemTime::now() + Duration::from_secs(2));
    folder.write(&line(id(1), &format!(" expires={soon_over}")));
    until("trusted", || ben.is_trusted(id(1))).await;
    until("not any more", || !ben.is_trusted(id(1))).await;
    assert!(UnixTime::from(SystemTime::now()) >= soon_over);
}

async fn i4_i5_changes_of_trust_are_written_and_survive_a_restart<H: Host>() {
    let folder = Folder::new("kept");
    let text = format!("# our nodes\n\n{}# the end\n", line(id(1), " added=2026-03-01 label=anna's"));
    folder.write(&text);
    let ben = start(by_file::<H>(&folder)).await;
    assert!(soon(ben.trust(id(3), None)).await.expect("written"));
    assert!(!soon(ben.trust(id(3), None)).await.expect("known"));
    assert!(
        ben.is_trusted(id(3))
            && folder.read().starts_with(&text)
            && folder.read().contains(&id(3).to_string())
    );
    // The label stays with the peer.
    assert!(soon(ben.trust(id(1), Some(Duration::from_secs(3600)))).await.expect("written"));
    let changed = folder.read();
    let own = changed.lines().find(|line| line.starts_with(&id(1).to_string())).expect("its line");
    assert!(own.contains("expires=") && own.ends_with("label=anna's"), "{own}");
    assert!(soon(ben.revoke(id(1))).await.expect("written") && !ben.is_trusted(id(1)));
    assert!(!soon(ben.revoke(id(1))).await.expect("gone already"));
    drop(ben);
    let again = start(by_file::<H>(&folder)).await;
    assert!(!again.is_trusted(id(1)) && again.is_trusted(id(3)));
    assert!(folder.read().starts_with("# our nodes\n\n# the end\n"), "{}", folder.read());
}

async fn i4_i5_a_revocation_that_cannot_be_written_holds_and_is_told<H: Host>() {
    let folder = Folder::new("refused");
    folder.write(&line(id(1), ""));
    let ben = start(by_file::<H>(&folder).trust_reload(Duration::from_secs(3600))).await;
    assert!(ben.is_trusted(id(1)));
    folder.write("who is this?\n");
    let error = soon(ben.revoke(id(1))).await.expect_err("it cannot be changed");
    assert!(matches!(error, TrustError::File(TrustFileError::Parse(_))), "{error}");
    assert!(!ben.is_trusted(id(1)));
    let error = soon(ben.trust(id(3), None)).await.expect_err("it cannot be changed");
    assert!(error.to_string().contains("line 1"), "{error}");
    assert!(!ben.is_trusted(id(1)) && !ben.is_trusted(id(3)) && folder.read() == "who is this?\n");
    // A node does not start with such a file.
    let error = by_file::<H>(&folder).start().await.expect_err("it is no list");
    assert!(matches!(&error, StartError::Trust { path, .. } if *path == folder.list()), "{error}");
}

handclasp_adapters::on_every_host!(
    i4_a_trust_file_is_taken_over_live_and_a_broken_one_changes_nothing,
    i4_i5_changes_of_trust_are_written_and_survive_a_restart,
    i4_i5_a_revocation_that_cannot_be_written_holds_and_is_told,
);
