use super::*;
use crate::units::Span;

fn limits() -> Limits {
    Limits::default()
}

#[test]
fn a_session_expiry_is_shortened_to_the_maximum_even_where_it_is_for_ever() {
    let limits = Limits { max_session_expiry: Span::seconds(60), ..limits() };
    assert_eq!([0, 59, 60, 61, u32::MAX].map(|wanted| limits.bound_session_expiry(wanted)), [0, 59, 60, 60, 60]);
}

#[test]
fn no_maximum_leaves_the_session_expiry_as_it_is_wanted() {
    for none in [Span::seconds(0), Span::seconds(u64::from(u32::MAX) + 1)] {
        let limits = Limits { max_session_expiry: none, ..limits() };
        assert_eq!([0, 1, u32::MAX].map(|wanted| limits.bound_session_expiry(wanted)), [0, 1, u32::MAX]);
    }
}

#[test]
fn a_client_without_keep_alive_gets_the_longest_one() {
    let limits = Limits { max_keep_alive: Span::seconds(60), ..limits() };
    assert_eq!([0, 59, 60, 61].map(|wanted| limits.bound_keep_alive(wanted)), [60, 59, 60, 60]);
    let limits = Limits { max_keep_alive: Span::seconds(0), ..limits };
    assert_eq!([0, u16::MAX].map(|wanted| limits.bound_keep_alive(wanted)), [0, u16::MAX]);
}
