use super::*;
use proptest::prelude::*;

fn item(amount: i128, day: i32, reference: &str, batch: &str) -> Item {
    Item {
        amount,
        day,
        references: Some(reference.to_owned()).filter(|r| !r.is_empty()).into_iter().collect(),
        batch: Some(batch.to_owned()).filter(|b| !b.is_empty()),
    }
}

fn plain(amount: i128, day: i32) -> Item {
    item(amount, day, "", "")
}

fn rule(amount_tolerance: u128, ppm: u128, days: i32) -> Rule {
    Rule {
        priority: 1,
        amount_tolerance,
        amount_tolerance_ppm: ppm,
        date_tolerance_days: days,
        reference_window_days: 31,
        passes: Pass::ALL.to_vec(),
    }
}

/// (pass, lines, postings, difference) of each match.
fn run(lines: &[Item], postings: &[Item], rule: Rule) -> Vec<(Pass, Vec<usize>, Vec<usize>, i128)> {
    let found = matched(lines, postings, &[rule]);
    found.into_iter().map(|f| (f.pass, f.lines, f.postings, f.difference)).collect()
}

#[test]
fn a_reference_tells_apart_what_amount_and_date_do_not() {
    let lines = [item(100, 1, "A", ""), item(100, 1, "B", "")];
    let postings = [item(100, 1, "B", ""), item(100, 20, "A", "")];
    let found = run(&lines, &postings, rule(0, 0, 0));
    assert_eq!(found, [(Pass::Reference, vec![1], vec![0], 0), (Pass::Reference, vec![0], vec![1], 0)]);
}

#[test]
fn the_same_day_comes_before_days_near_it() {
    let lines = [plain(100, 1), plain(100, 2), plain(100, 3)];
    let found = run(&lines, &lines, rule(0, 0, 1));
    assert_eq!(found.len(), 3);
    assert!(found.iter().all(|(pass, l, p, d)| *pass == Pass::Date && l == p && *d == 0));
}

#[test]
fn what_could_go_two_ways_stays_open() {
    let lines = [plain(100, 1)];
    let postings = [plain(100, 1), plain(100, 1)];
    assert_eq!(run(&lines, &postings, rule(0, 0, 0)), []);
    assert_eq!(ambiguous(&lines, &postings, &[rule(0, 0, 0)]), [true]);
    assert_eq!(run(&postings, &lines, rule(0, 0, 0)), []);
    // One posting, two lines: both are held back, not the second only.
    assert_eq!(ambiguous(&postings, &lines, &[rule(0, 0, 0)]), [true, true]);
    assert_eq!(ambiguous(&lines, &[plain(101, 1), plain(-100, 1), plain(100, 2)], &[rule(0, 0, 0)]), [false]);
}

#[test]
fn a_difference_within_the_tolerance_is_recorded() {
    let found = run(&[plain(10_000, 1)], &[plain(10_099, 1)], rule(5, 10_000, 0));
    assert_eq!(found, [(Pass::Date, vec![0], vec![0], 99)]);
    assert_eq!(run(&[plain(10_000, 1)], &[plain(10_101, 1)], rule(5, 10_000, 0)), []);
    assert_eq!(run(&[plain(-10_000, 1)], &[plain(-9_995, 1)], rule(5, 0, 0)).len(), 1);
    assert_eq!(run(&[plain(3, 1)], &[plain(-2, 1)], rule(5, 0, 0)), [], "never across zero");
}

#[test]
fn a_batch_is_found_by_name_or_by_its_day() {
    let postings = [item(30, 1, "RUN-7", ""), item(70, 2, "RUN-7", ""), item(5, 2, "X", "")];
    let found = run(&[item(100, 3, "RUN-7", "")], &postings, rule(0, 0, 0));
    assert_eq!(found, [(Pass::OneToMany, vec![0], vec![0, 1], 0)]);
    let postings = [item(30, 1, "a", "B9"), item(70, 1, "b", "B9"), item(5, 1, "c", "")];
    assert_eq!(run(&[item(100, 9, "B9", "")], &postings, rule(0, 0, 0))[0].2, [0, 1]);
    assert_eq!(run(&[plain(100, 2)], &postings, rule(0, 0, 1))[0].2, [0, 1]);
    assert_eq!(run(&[plain(105, 2)], &postings, rule(0, 0, 1))[0].2, [0, 1, 2]);
    assert_eq!(run(&[plain(105, 2)], &postings, rule(0, 0, 0)), []);
}

#[test]
fn several_lines_are_one_posting_the_same_way() {
    let lines = [item(-30, 1, "RUN-7", ""), item(-70, 1, "RUN-7", "")];
    let found = run(&lines, &[item(-100, 3, "RUN-7", "")], rule(0, 0, 0));
    assert_eq!(found, [(Pass::ManyToOne, vec![0, 1], vec![0], 0)]);
}

#[test]
fn a_subset_is_taken_only_where_the_rule_says_so() {
    let postings = [plain(11, 1), plain(23, 1), plain(47, 1)];
    let mut rule = rule(0, 0, 0);
    let found = run(&[plain(58, 1)], &postings, rule.clone());
    assert_eq!(found, [(Pass::Subset, vec![0], vec![0, 2], 0)]);
    rule.passes.pop();
    assert_eq!(run(&[plain(58, 1)], &postings, rule), []);
}

#[test]
fn rules_go_by_their_order() {
    let (strict, loose) = (rule(0, 0, 0), Rule { priority: 2, ..rule(10, 0, 5) });
    let found = matched(&[plain(100, 1)], &[plain(103, 1), plain(100, 1)], &[strict, loose]);
    assert_eq!((found.len(), found[0].priority, &found[0].postings[..]), (1, 1, &[1][..]));
}

fn items() -> impl Strategy<Value = Vec<Item>> {
    let one = (prop_oneof![1i128..40, -40i128..-1], 0i32..6, 0usize..6, 0usize..4)
        .prop_map(|(a, d, r, b)| item(a, d, ["", "", "", "R", "S", "T"][r], ["", "", "P", "Q"][b]));
    proptest::collection::vec(one, 0..14)
}

/// What a match says, without the places of its items in the lists.
fn content(lines: &[Item], postings: &[Item], found: &[Found]) -> Vec<String> {
    let texts = |items: &[Item], at: &[usize]| {
        let mut texts: Vec<_> = at.iter().map(|&at| format!("{:?}", items[at])).collect();
        texts.sort();
        texts
    };
    let mut all: Vec<_> = found
        .iter()
        .map(|f| format!("{:?} {:?} {:?}", f.pass, texts(lines, &f.lines), texts(postings, &f.postings)))
        .collect();
    all.sort();
    all
}

fn left(items: &[Item], taken: impl Iterator<Item = usize>) -> Vec<Item> {
    let taken: Vec<usize> = taken.collect();
    (0..items.len()).filter(|at| !taken.contains(at)).map(|at| items[at].clone()).collect()
}

proptest! {
    #[test]
    fn matches_hold_what_they_promise(lines in items(), postings in items(), by in 0u128..5, days in 0i32..3) {
        let rule = rule(by, 0, days);
        let found = matched(&lines, &postings, std::slice::from_ref(&rule));
        let (mut used_lines, mut used_postings): (Vec<usize>, Vec<usize>) = (vec![], vec![]);
        for f in &found {
            used_lines.extend(&f.lines);
            used_postings.extend(&f.postings);
            let sum = |items: &[Item], at: &[usize]| at.iter().map(|&at| items[at].amount).sum::<i128>();
            prop_assert_eq!(f.difference, sum(&postings, &f.postings) - sum(&lines, &f.lines));
            prop_assert!(f.difference.unsigned_abs() <= by);
            prop_assert!(f.lines.len() == 1 || f.postings.len() == 1);
            prop_assert!(!f.lines.is_empty() && !f.postings.is_empty());
        }
        for mut used in [used_lines, used_postings] {
            let all = used.len();
            used.sort_unstable();
            used.dedup();
            prop_assert_eq!(used.len(), all, "an item is in one match at the most");
        }
    }

    #[test]
    fn the_order_of_the_items_does_not_matter(lines in items(), postings in items(), by in 0u128..5, days in 0i32..3) {
        let rules = [rule(by, 0, days)];
        let found = matched(&lines, &postings, &rules);
        let turned = |items: &[Item]| items.iter().rev().cloned().collect::<Vec<_>>();
        let (other_lines, other_postings) = (turned(&lines), turned(&postings));
        let other = matched(&other_lines, &other_postings, &rules);
        prop_assert_eq!(content(&lines, &postings, &found), content(&other_lines, &other_postings, &other));
    }

    #[test]
    fn what_is_left_open_has_no_match(lines in items(), postings in items(), by in 0u128..5, days in 0i32..3) {
        let rules = [rule(by, 0, days)];
        let found = matched(&lines, &postings, &rules);
        let lines = left(&lines, found.iter().flat_map(|f| f.lines.iter().copied()));
        let postings = left(&postings, found.iter().flat_map(|f| f.postings.iter().copied()));
        prop_assert_eq!(matched(&lines, &postings, &rules), []);
    }

    #[test]
    fn distinct_amounts_all_find_their_own(amounts in proptest::collection::btree_set(1i128..1_000_000, 1..200), days in 0i32..4) {
        let lines: Vec<_> = amounts.iter().map(|&a| plain(a, (a % 7) as i32)).collect();
        let mut one_by_one = rule(0, 0, days);
        one_by_one.passes = vec![Pass::Date];
        let found = matched(&lines, &lines, &[one_by_one]);
        prop_assert_eq!(found.len(), lines.len());
        prop_assert!(found.iter().all(|f| f.lines == f.postings));
    }
}
