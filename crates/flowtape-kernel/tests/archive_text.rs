//! Archive text to columns: plain lines, odd lines, and what is wrong with the rest.

use flowtape_kernel::archive_text::{BadText, Columns, Fault, Role, parse};

fn roles(letters: &str) -> Vec<Role> {
    letters.chars().filter_map(Role::of_letter).collect()
}

fn read(text: &str, letters: &str) -> Result<Columns, BadText> {
    parse(text.as_bytes(), &roles(letters), 0, 0)
}

fn fault(text: &str, letters: &str) -> (Fault, usize, usize, String) {
    let bad = read(text, letters).expect_err("text should be refused");
    (bad.fault, bad.line, bad.field, bad.value)
}

#[test]
fn reads_a_spot_row() {
    let text = "429861665,0.16850000,217.00000000,772221544,772221548,1784851208006037,True,True\n";
    let columns = read(text, "apqfltm-").expect("plain row");
    assert_eq!(columns.agg_id, [429_861_665]);
    assert_eq!((columns.price, columns.price_decimals), (vec![1685], 4));
    assert_eq!((columns.qty, columns.qty_decimals), (vec![217], 0));
    assert_eq!(
        (columns.first_id, columns.last_id),
        (vec![772_221_544], vec![772_221_548])
    );
    assert_eq!(
        (columns.time, columns.side),
        (vec![1_784_851_208_006_037], vec![-1])
    );
}

#[test]
fn grows_the_grid_as_numbers_need_it() {
    let columns = read("1,5\n2,0.250\n3,1.1\n", "ap").expect("plain rows");
    assert_eq!(
        (columns.price, columns.price_decimals),
        (vec![500, 25, 110], 2)
    );
}

#[test]
fn keeps_at_least_the_grid_given() {
    let columns = parse(b"7.5\n", &roles("p"), 3, 0).expect("plain row");
    assert_eq!((columns.price, columns.price_decimals), (vec![7500], 3));
}

#[test]
fn reads_every_length_of_digits_at_every_place() {
    for count in 1..=18 {
        let number = &"987654321012345678"[..count];
        for padding in 0..10 {
            let text = format!("{number},{}\n", "x".repeat(padding));
            let columns = read(&text, "a-").expect("plain row");
            assert_eq!(columns.agg_id, [number.parse::<i64>().expect("digits")]);
            let text = format!("{},0.{number}\n", "x".repeat(padding));
            let found = read(&text, "-p");
            let significant = number.trim_end_matches('0').len();
            assert_eq!(found.is_ok(), significant <= 12, "{text}");
        }
    }
}

#[test]
fn reads_quoted_spaced_and_returned_lines() {
    let columns = read("\"1\", 2.50 ,BUY\r\n\r\n-3,0,sell\r\n", "aps").expect("rows");
    assert_eq!((columns.agg_id, columns.side), (vec![1, -3], vec![1, -1]));
    assert_eq!((columns.price, columns.line_count), (vec![25, 0], 3));
}

#[test]
fn reads_booleans_in_any_case() {
    let columns = read("True\nfalse\nTRUE\n0\n1\nFaLsE\n", "m").expect("rows");
    assert_eq!(columns.side, [-1, 1, -1, 1, -1, 1]);
}

#[test]
fn missing_ids_are_minus_one() {
    let columns = read("5\n", "a").expect("row");
    assert_eq!((columns.first_id, columns.last_id), (vec![-1], vec![-1]));
}

#[test]
fn names_what_it_cannot_read() {
    assert_eq!(
        fault("1,2\n3\n", "ap"),
        (Fault::FieldCount, 1, 0, "3".into())
    );
    assert_eq!(
        fault("1,2,3\n", "ap"),
        (Fault::FieldCount, 0, 0, "1,2,3".into())
    );
    assert_eq!(fault("1x,2\n", "ap"), (Fault::Integer, 0, 0, "1x".into()));
    assert_eq!(fault(",2\n", "ap"), (Fault::Integer, 0, 0, String::new()));
    assert_eq!(fault("1,1e5\n", "ap"), (Fault::Decimal, 0, 1, "1e5".into()));
    assert_eq!(
        fault("1,-0.5\n", "ap"),
        (Fault::Negative, 0, 1, "-0.5".into())
    );
    assert_eq!(
        fault("0.0000000000001\n", "p"),
        (Fault::Decimals, 0, 0, "0.0000000000001".into())
    );
    assert_eq!(fault("1,yes\n", "am"), (Fault::Flag, 0, 1, "yes".into()));
    assert_eq!(fault("1,long\n", "as"), (Fault::Side, 0, 1, "long".into()));
    let large = "9999999999999999999";
    assert_eq!(
        fault(&format!("{large}\n"), "a"),
        (Fault::Large, 0, 0, large.into())
    );
    assert_eq!(
        fault(&format!("{large}\n"), "p"),
        (Fault::Large, 0, 0, large.into())
    );
}

#[test]
fn refuses_numbers_that_outgrow_the_grid() {
    let whole = "999999999999999999";
    assert_eq!(fault(&format!("{whole}.5\n"), "p").0, Fault::Large);
    assert_eq!(
        fault(&format!("{whole}\n0.25\n"), "p"),
        (Fault::Large, 1, 0, "0.25".into())
    );
}

#[test]
fn any_bytes_give_columns_or_a_fault() {
    let mut state = 1_u64;
    for length in 0..400 {
        let text: Vec<u8> = (0..length)
            .map(|_| {
                state = state
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1);
                b"0123456789.,-\n\r tTrue\xff"[(state >> 33) as usize % 22]
            })
            .collect();
        let columns = parse(&text, &roles("apq"), 2, 2);
        assert!(columns.is_err() || columns.is_ok_and(|c| c.agg_id.len() == c.qty.len()));
    }
}
