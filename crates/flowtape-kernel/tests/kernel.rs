//! The safe owner, without Python: batches, stops, outputs, states, threads.

use flowtape_kernel::{
    BadRow, Batch, Kernel, OrderKind, Stop, i128_of, i128_pair, status_names, sys, value_area,
};

fn orderflow() -> sys::FlowOrderflowConfig {
    let mut series = [sys::FlowSeriesConfig::default(); sys::FLOW_SERIES_MAX];
    series[0].threshold = 1000;
    series[1] = sys::FlowSeriesConfig {
        kind: 1,
        threshold: 30,
        row_ticks: 2,
    };
    sys::FlowOrderflowConfig {
        series_count: 2,
        series,
        footprint_rows_max: 16,
        value_area_ppm: 700_000,
        imbalance_stack_count: 1,
        bubbles_on: 1,
        bubble_window_us: 100,
        profile_rows_max: 64,
        vwap_on: 1,
        sweep_level_count: 2,
        ..sys::FlowOrderflowConfig::default()
    }
}

fn config() -> sys::FlowConfig {
    sys::FlowConfig {
        abi_version: sys::FLOW_ABI_VERSION,
        orders_max: 8,
        decide_trades_count: 0,
        decide_grid_us: 0,
        decide_on_fill: 0,
        equity_grid_us: 0,
        latency_us: 0,
        maker_fee_ppm: 0,
        taker_fee_ppm: 0,
        atoms_per_ticklot: 1,
        fee_unit_atoms: 1,
        initial_cash_atoms: i128_pair(1_000_000),
        orderflow: orderflow(),
    }
}

struct Columns {
    ts_us: Vec<i64>,
    price_ticks: Vec<i64>,
    qty_lots: Vec<i64>,
    side: Vec<i8>,
}

/// Prices that go up and down between 100 and 109, aggressors that change with each trade.
fn columns(count: usize) -> Columns {
    let rows = 0..i64::try_from(count).expect("small");
    Columns {
        ts_us: rows.clone().map(|i| 10 * i).collect(),
        price_ticks: rows.clone().map(|i| 100 + i % 10).collect(),
        qty_lots: rows.clone().map(|i| 1 + i % 3).collect(),
        side: rows.map(|i| if i % 2 == 0 { 1 } else { -1 }).collect(),
    }
}

impl Columns {
    fn batch(&self) -> Batch<'_> {
        Batch::new(&self.ts_us, &self.price_ticks, &self.qty_lots, &self.side).expect("valid")
    }
}

#[test]
fn more_outputs_than_the_outboxes_hold_all_arrive() {
    let trades = columns(100_000);
    let mut kernel = Kernel::new(&config(), 1 << 20).expect("valid");
    assert_eq!(
        kernel.run(&trades.batch(), 0).expect("runs"),
        (100_000, Stop::End)
    );
    kernel.end().expect("ends");
    let outputs = kernel.outputs();
    assert_eq!(outputs.bubble_count, 100_000);
    assert_eq!(outputs.bubbles.len(), 100_000);
    let (bars, ticks) = (&outputs.series[0].bars, &outputs.series[1]);
    assert_eq!(bars.len(), 1000);
    assert_eq!(ticks.bars.len(), 3334);
    assert_eq!(ticks.footprints.len(), 3334);
    let rows: i32 = ticks.footprints.iter().map(|f| f.row_count).sum();
    assert_eq!(usize::try_from(rows), Ok(ticks.footprint_rows.len()));
    let volume: i64 = trades.qty_lots.iter().sum();
    assert_eq!(
        outputs.bubbles.iter().map(|b| b.qty_lots).sum::<i64>(),
        volume
    );
    assert_eq!(
        bars.iter().map(|b| b.buy_lots + b.sell_lots).sum::<i64>(),
        volume
    );
    assert_eq!(
        ticks
            .footprint_rows
            .iter()
            .map(|r| r.buy_lots + r.sell_lots)
            .sum::<i64>(),
        volume
    );
}

#[test]
fn decisions_come_back_at_once() {
    let trades = columns(1000);
    let every_ten = sys::FlowConfig {
        decide_trades_count: 10,
        ..config()
    };
    let mut kernel = Kernel::new(&every_ten, 16).expect("valid");
    let batch = trades.batch();
    let (mut at, mut decisions) = (0, 0);
    while at < batch.len() {
        let (next, stop) = kernel.run(&batch, at).expect("runs");
        assert_eq!((next, stop), (at + 10, Stop::Decision));
        at = next;
        decisions += 1;
    }
    assert_eq!(decisions, 100);
}

#[test]
fn a_bad_row_is_named_and_unequal_columns_are_refused() {
    let mut trades = columns(300);
    trades.qty_lots[250] = 0;
    let refused = Batch::new(
        &trades.ts_us,
        &trades.price_ticks,
        &trades.qty_lots,
        &trades.side,
    );
    match refused {
        Err(BadRow::Row(row, error)) => assert_eq!((row, error.name()), (250, "BAD_QTY")),
        other => panic!("expected a bad row, was {other:?}"),
    }
    let short = Batch::new(
        &trades.ts_us,
        &trades.price_ticks[1..],
        &trades.qty_lots,
        &trades.side,
    );
    assert!(matches!(short, Err(BadRow::Lengths)));
}

#[test]
fn fills_reach_the_account_exactly() {
    let trades = columns(10);
    let mut kernel = Kernel::new(&config(), 16).expect("valid");
    let id = kernel.place(0, OrderKind::Market, 1, 2, 0).expect("valid");
    kernel.run(&trades.batch(), 0).expect("runs");
    let fills = std::mem::take(&mut kernel.outputs().fills);
    // The print at time 0 is not later than the command; the seller at 101 offers one tick above.
    assert_eq!(fills.len(), 1);
    assert_eq!(
        (fills[0].order_id, fills[0].price_ticks, fills[0].qty_lots),
        (id, 102, 2)
    );
    let snapshot = kernel.snapshot();
    assert_eq!(snapshot.position_lots, 2);
    assert_eq!(i128_of(snapshot.cash_atoms), 1_000_000 - 204);
    assert_eq!(i128_of(snapshot.equity_atoms), 1_000_000 - 204 + 2 * 109);
}

#[test]
fn order_flow_can_be_asked_for_at_any_time() {
    let trades = columns(45);
    let mut kernel = Kernel::new(&config(), 16).expect("valid");
    kernel.run(&trades.batch(), 0).expect("runs");
    assert_eq!(kernel.bar(1).expect("there").trade_count, 15);
    let (footprint, rows) = kernel.footprint(1).expect("there");
    assert_eq!(usize::try_from(footprint.row_count), Ok(rows.len()));
    assert_eq!(footprint.row_ticks, 2);
    let volume: i64 = trades.qty_lots.iter().sum();
    assert_eq!(kernel.session().vwap.lots, volume);
    kernel.anchor(2).expect("there");
    kernel.run(&trades.batch(), 44).expect("runs");
    assert_eq!(kernel.session().anchors[2].lots, trades.qty_lots[44]);
    let area = value_area(&kernel.profile(), 1_000_000).expect("valid");
    assert_eq!(area.total_lots, volume + trades.qty_lots[44]);
    assert_eq!((area.low_ticks, area.high_ticks), (100, 109));
    assert_eq!(kernel.bar(2).expect_err("refused").name(), "BAD_SERIES");
    assert_eq!(kernel.anchor(4).expect_err("refused").name(), "BAD_ANCHOR");
}

#[test]
fn a_state_moves_to_another_kernel_and_thread() {
    let trades = columns(5000);
    let (first, second) = trades.ts_us.split_at(1234);
    let at = first.len();
    assert_eq!(second.len(), 5000 - at);
    let mut straight = Kernel::new(&config(), 0).expect("valid");
    straight.run(&trades.batch(), 0).expect("runs");

    let head = columns(at);
    let mut before = Kernel::new(&config(), 0).expect("valid");
    before.run(&head.batch(), 0).expect("runs");
    let state = before.save_state();
    let moved = std::thread::spawn(move || {
        let trades = columns(5000);
        let mut after = Kernel::new(&config(), 0).expect("valid");
        after.load_state(&state).expect("loads");
        after.run(&trades.batch(), at).expect("runs");
        after.save_state()
    });
    assert_eq!(moved.join().expect("no panic"), straight.save_state());
    assert_eq!(
        before.load_state(b"nonsense").expect_err("refused").name(),
        "BAD_STATE"
    );
}

#[test]
fn wide_integers_cross_both_ways() {
    for value in [
        0,
        1,
        -1,
        i128::from(i64::MAX) + 1,
        i128::MIN,
        i128::MAX,
        -(1 << 64),
    ] {
        assert_eq!(i128_of(i128_pair(value)), value);
    }
}

#[test]
fn statuses_have_distinct_names() {
    let names = status_names();
    assert_eq!(names[0], "OK");
    assert!(names.len() > 15);
    let distinct: std::collections::HashSet<_> = names.iter().collect();
    assert_eq!(distinct.len(), names.len());
}
