use super::*;

const PASSED: Outcome = Outcome::Passed { load: 0.0, accepting: true };

fn at(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// Learned one second after the other, from `start` on; the state after each.
fn lived(health: &mut Health, start: u64, outcomes: &[Outcome]) -> alloc::vec::Vec<State> {
    let learn = |(outcome, second)| {
        health.learn(outcome, at(second));
        health.state(at(second))
    };
    outcomes.iter().copied().zip(start..).map(learn).collect()
}

fn up() -> Health {
    let mut health = Health::new(LAN, at(0));
    lived(&mut health, 0, &[PASSED]);
    health
}

#[test]
fn nobody_is_sent_where_nobody_has_looked() {
    let health = Health::new(LAN, at(0));
    assert_eq!(health.standing(at(0)).weight, 0.0);
    assert!(!health.state(at(0)).is_usable());
}

#[test]
fn the_first_look_decides() {
    assert_eq!(up().state(at(0)), State::Up);
    let mut health = Health::new(LAN, at(0));
    assert_eq!(lived(&mut health, 0, &[Outcome::Failed]), [State::Down]);
}

#[test]
fn one_failure_makes_a_suspect_three_in_a_row_take_it_down() {
    let mut health = up();
    let states = lived(&mut health, 10, &[Outcome::Failed, Outcome::Failed, Outcome::Failed]);
    assert_eq!(states, [State::Suspect, State::Suspect, State::Down]);
    let mut health = up();
    assert_eq!(lived(&mut health, 10, &[Outcome::Failed, PASSED]), [State::Suspect, State::Up]);
}

#[test]
fn an_address_at_which_somebody_else_answers_is_down_at_once_and_has_to_prove_itself_anew() {
    let mut health = up();
    assert!(health.is_proven());
    assert_eq!(lived(&mut health, 10, &[Outcome::Deceived]), [State::Down]);
    assert!(!health.is_proven());
    let states = lived(&mut health, 11, &[PASSED, PASSED, PASSED]);
    assert_eq!(states, [State::Down, State::Down, State::Recovering]);
    assert_eq!(lived(&mut health, 20, &[Outcome::Deceived]), [State::Down]);
    let mut health = Health::new(LAN, at(0));
    assert_eq!(lived(&mut health, 0, &[Outcome::Deceived]), [State::Down]);
}

#[test]
fn a_suspect_is_looked_at_again_after_one_second_and_after_two() {
    let mut health = up();
    assert_eq!(health.pause(false), LAN);
    lived(&mut health, 10, &[Outcome::Failed]);
    assert_eq!(health.pause(false), at(1));
    lived(&mut health, 11, &[Outcome::Failed]);
    assert_eq!(health.pause(false), at(2));
}

#[test]
fn one_that_fails_every_other_time_goes_down_too() {
    let mut health = up();
    let flapping = [Outcome::Failed, PASSED].repeat(5);
    assert_eq!(lived(&mut health, 10, &flapping).iter().position(|state| *state == State::Down), Some(8));
    let mut health = up();
    for round in 0..20 {
        let mut good = alloc::vec![Outcome::Failed];
        good.extend([PASSED; 10]);
        assert!(!lived(&mut health, 100 * round, &good).contains(&State::Down), "ten good ones clear it");
    }
}

#[test]
fn a_client_that_nobody_answers_counts_twice_and_a_bad_answer_once() {
    let mut health = up();
    assert_eq!(
        lived(&mut health, 10, &[Outcome::Unreachable, Outcome::Erred]),
        [State::Suspect, State::Down]
    );
}

#[test]
fn what_was_down_gets_its_clients_back_little_by_little() {
    let mut health = up();
    lived(&mut health, 10, &[Outcome::Failed; 3]);
    let states = lived(&mut health, 20, &[PASSED; 3]);
    assert_eq!(states, [State::Down, State::Down, State::Recovering]);
    let weight = |seconds| health.standing(at(seconds)).weight;
    assert!((weight(22) - 0.1).abs() < 0.01);
    assert!((weight(22 + 30) - 0.6).abs() < 0.01);
    assert_eq!((weight(22 + 60), health.state(at(82))), (1.0, State::Up));
    assert!((22..=82).all(|second| weight(second) <= weight(second + 1)));
}

#[test]
fn each_fall_makes_the_way_back_longer_until_it_is_forgiven() {
    let mut health = up();
    let mut now = 10;
    for passes in [3, 6, 12, 24, 24] {
        lived(&mut health, now, &[Outcome::Failed; 3]);
        assert_eq!(health.state(at(now + 2)), State::Down);
        let states = lived(&mut health, now + 3, &alloc::vec![PASSED; passes]);
        assert_eq!(states.iter().position(|state| *state == State::Recovering), Some(passes - 1));
        now += 3 + u64::try_from(passes).unwrap() + 60;
    }
    let later = now + 5 * 30 * 60;
    lived(&mut health, later, &[PASSED, Outcome::Failed, Outcome::Failed, Outcome::Failed]);
    assert_eq!(lived(&mut health, later + 4, &[PASSED; 3])[2], State::Recovering);
}

#[test]
fn one_that_recovers_and_fails_is_down_at_once() {
    let mut health = up();
    lived(&mut health, 10, &[Outcome::Failed; 3]);
    lived(&mut health, 20, &[PASSED; 3]);
    assert_eq!(lived(&mut health, 25, &[Outcome::Failed]), [State::Down]);
}

#[test]
fn one_that_is_about_to_stop_gets_nobody_more() {
    let mut health = up();
    let stopping = Outcome::Passed { load: 0.0, accepting: false };
    assert_eq!(
        lived(&mut health, 10, &[stopping, Outcome::Failed, PASSED]),
        [State::Draining, State::Down, State::Down]
    );
    let mut health = up();
    assert_eq!(lived(&mut health, 10, &[stopping, PASSED]), [State::Draining, State::Recovering]);
}

#[test]
fn an_answer_holds_until_the_state_can_change() {
    assert_eq!(up().standing(at(1)).changes_in_s, 8);
    let mut health = up();
    lived(&mut health, 10, &[Outcome::Failed]);
    assert_eq!(health.standing(at(10)).changes_in_s, 0, "at any moment");
    lived(&mut health, 11, &[Outcome::Failed; 2]);
    assert_eq!(health.standing(at(13)).changes_in_s, 15, "three passes");
}
