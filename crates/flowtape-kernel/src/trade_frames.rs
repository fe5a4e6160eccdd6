//! Frames of Binance's `aggTrade` streams to columns of integers, exactly.
//!
//! Only what is plain is read here: flat JSON without spaces or escapes, numbers without signs,
//! every value on the grid and within its bounds. Whatever else comes is left to a slower reader,
//! which knows what is wrong with it, if anything is.

/// Bounds of what is read, and the grid it lies on.
#[derive(Clone, Copy, Debug)]
pub struct Rules<'a> {
    /// The one symbol that is read.
    pub symbol: &'a [u8],
    /// Decimals of prices.
    pub price_decimals: u32,
    /// Decimals of quantities.
    pub qty_decimals: u32,
    /// The highest price in ticks.
    pub price_max: i64,
    /// The highest quantity in lots.
    pub qty_max: i64,
    /// The latest time in microseconds.
    pub time_us_max: i64,
    /// Times from here on are microseconds, lower ones milliseconds.
    pub micros_from: i64,
    /// How far a trade's time may be from its event's, in microseconds.
    pub skew_us_max: i64,
}

/// One trade of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trade {
    /// Aggregate trade id.
    pub agg_id: i64,
    /// Time of the trade in microseconds.
    pub ts_us: i64,
    /// Price in ticks, above 0.
    pub price: i64,
    /// Quantity in lots, above 0.
    pub qty: i64,
    /// First raw trade id.
    pub first_id: i64,
    /// Last raw trade id.
    pub last_id: i64,
    /// +1 where the buyer was the aggressor, -1 where the seller was.
    pub side: i8,
    /// Time of the event in microseconds.
    pub event_us: i64,
}

/// Reads a frame of a raw or a combined connection; `None` when it is not plain.
#[must_use]
pub fn read(frame: &[u8], rules: &Rules<'_>) -> Option<Trade> {
    let mut text = Text { rest: frame };
    let combined = text.take(b"{\"stream\":\"");
    if combined {
        text.simple_string()?;
        if !text.take(b",\"data\":") {
            return None;
        }
    }
    let fields = Fields::read(&mut text, rules)?;
    if combined && !text.take(b"}") || !text.rest.is_empty() {
        return None;
    }
    fields.trade(rules)
}

const EVENT: u16 = 1;
const EVENT_TIME: u16 = 1 << 1;
const SYMBOL: u16 = 1 << 2;
const AGG_ID: u16 = 1 << 3;
const PRICE: u16 = 1 << 4;
const QTY: u16 = 1 << 5;
const FIRST_ID: u16 = 1 << 6;
const LAST_ID: u16 = 1 << 7;
const TIME: u16 = 1 << 8;
const MAKER: u16 = 1 << 9;
const BEST_MATCH: u16 = 1 << 10;
const WANTED: u16 = BEST_MATCH - 1;

#[derive(Default)]
struct Fields {
    event_time: i64,
    agg_id: i64,
    price: i64,
    qty: i64,
    first_id: i64,
    last_id: i64,
    time: i64,
    buyer_maker: bool,
}

impl Fields {
    fn read(text: &mut Text<'_>, rules: &Rules<'_>) -> Option<Self> {
        let mut fields = Self::default();
        let mut seen = 0;
        if !text.take(b"{\"") {
            return None;
        }
        loop {
            let key = text.simple_string()?;
            if !text.take(b":") {
                return None;
            }
            let field = fields.value(key, text, rules)?;
            // Of a key that comes twice the last one counts, elsewhere.
            if seen & field != 0 {
                return None;
            }
            seen |= field;
            if text.take(b"}") {
                return (seen & WANTED == WANTED).then_some(fields);
            }
            if !text.take(b",\"") {
                return None;
            }
        }
    }

    fn value(&mut self, key: &[u8], text: &mut Text<'_>, rules: &Rules<'_>) -> Option<u16> {
        Some(match key {
            b"e" => {
                text.take(b"\"aggTrade\"").then_some(())?;
                EVENT
            }
            b"E" => {
                self.event_time = text.integer()?;
                EVENT_TIME
            }
            b"s" => {
                text.take(b"\"").then_some(())?;
                (text.simple_string()? == rules.symbol).then_some(())?;
                SYMBOL
            }
            b"a" => {
                self.agg_id = text.integer()?;
                AGG_ID
            }
            b"p" => {
                self.price = text.decimal(rules.price_decimals)?;
                PRICE
            }
            b"q" => {
                self.qty = text.decimal(rules.qty_decimals)?;
                QTY
            }
            b"f" => {
                self.first_id = text.integer()?;
                FIRST_ID
            }
            b"l" => {
                self.last_id = text.integer()?;
                LAST_ID
            }
            b"T" => {
                self.time = text.integer()?;
                TIME
            }
            b"m" => {
                self.buyer_maker = text.boolean()?;
                MAKER
            }
            b"M" => {
                text.boolean()?;
                BEST_MATCH
            }
            _ => {
                text.anything_simple()?;
                0
            }
        })
    }

    fn trade(&self, rules: &Rules<'_>) -> Option<Trade> {
        let event_us = time_us(self.event_time, rules)?;
        let ts_us = time_us(self.time, rules)?;
        let fits = (1..=rules.price_max).contains(&self.price)
            && (1..=rules.qty_max).contains(&self.qty)
            && self.first_id <= self.last_id
            && (ts_us - event_us).abs() <= rules.skew_us_max;
        fits.then_some(Trade {
            agg_id: self.agg_id,
            ts_us,
            price: self.price,
            qty: self.qty,
            first_id: self.first_id,
            last_id: self.last_id,
            side: if self.buyer_maker { -1 } else { 1 },
            event_us,
        })
    }
}

fn time_us(time: i64, rules: &Rules<'_>) -> Option<i64> {
    let time_us = if time >= rules.micros_from {
        time
    } else {
        time * 1_000
    };
    (time >= 1 && time_us <= rules.time_us_max).then_some(time_us)
}

/// Most digits of a number: so many nines fit 64 bits.
const DIGITS_MAX: usize = 18;

struct Text<'a> {
    rest: &'a [u8],
}

impl<'a> Text<'a> {
    fn take(&mut self, expected: &[u8]) -> bool {
        match self.rest.strip_prefix(expected) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    /// Takes a string behind its first quotation mark, and the last one: printable ASCII.
    fn simple_string(&mut self) -> Option<&'a [u8]> {
        let stop = |&byte: &u8| byte == b'"' || byte == b'\\' || !(b' '..=b'~').contains(&byte);
        let length = self.rest.iter().position(stop)?;
        let (found, rest) = self.rest.split_at(length);
        self.rest = rest.strip_prefix(b"\"")?;
        Some(found)
    }

    fn digits(&mut self) -> (i64, usize) {
        let is_digit = |byte: &&u8| byte.is_ascii_digit();
        let mut value = 0;
        let mut count = 0;
        for digit in self.rest.iter().take(DIGITS_MAX).take_while(is_digit) {
            value = value * 10 + i64::from(digit - b'0');
            count += 1;
        }
        self.rest = &self.rest[count..];
        (value, count)
    }

    fn integer(&mut self) -> Option<i64> {
        let begins_with_zero = self.rest.first() == Some(&b'0');
        let (value, count) = self.digits();
        // What may stand behind: a number goes on with a digit, a point or an exponent.
        let ends = matches!(self.rest.first(), Some(b',' | b'}'));
        (ends && count > 0 && !(begins_with_zero && count > 1)).then_some(value)
    }

    /// Takes a string of a decimal number and returns it in steps of 10^-decimals.
    fn decimal(&mut self, decimals: u32) -> Option<i64> {
        self.take(b"\"").then_some(())?;
        let (mut value, count) = self.digits();
        if count == 0 {
            return None;
        }
        let mut missing = decimals;
        if self.take(b".") {
            let mut count = 0;
            while let Some(digit) = self.rest.get(count).filter(|byte| byte.is_ascii_digit()) {
                count += 1;
                if count > DIGITS_MAX {
                    return None;
                }
                if missing > 0 {
                    value = value
                        .checked_mul(10)?
                        .checked_add(i64::from(digit - b'0'))?;
                    missing -= 1;
                } else if *digit != b'0' {
                    return None;
                }
            }
            self.rest = &self.rest[count..];
        }
        self.take(b"\"").then_some(())?;
        value.checked_mul(10_i64.checked_pow(missing)?)
    }

    fn boolean(&mut self) -> Option<bool> {
        if self.take(b"true") {
            Some(true)
        } else {
            self.take(b"false").then_some(false)
        }
    }

    fn anything_simple(&mut self) -> Option<()> {
        if self.take(b"\"") {
            self.simple_string().map(drop)
        } else if self.rest.first()?.is_ascii_digit() {
            self.integer().map(drop)
        } else {
            self.boolean().map(drop)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Rules, Trade, read};

    const RULES: Rules<'_> = Rules {
        symbol: b"BTCUSDT",
        price_decimals: 2,
        qty_decimals: 5,
        price_max: 1 << 50,
        qty_max: 1 << 56,
        time_us_max: 1 << 53,
        micros_from: 1_000_000_000_000_000,
        skew_us_max: 86_400_000_000,
    };
    const SPOT: &str = r#"{"e":"aggTrade","E":1784410630175,"s":"BTCUSDT","a":4017087867,"p":"64682.62000000","q":"0.02435000","f":6516181178,"l":6516181179,"T":1784410630174,"m":true,"M":true}"#;

    fn trade() -> Trade {
        Trade {
            agg_id: 4_017_087_867,
            ts_us: 1_784_410_630_174_000,
            price: 6_468_262,
            qty: 2_435,
            first_id: 6_516_181_178,
            last_id: 6_516_181_179,
            side: -1,
            event_us: 1_784_410_630_175_000,
        }
    }

    #[test]
    fn frames_of_both_markets_and_both_kinds_of_connection_are_read() {
        assert_eq!(read(SPOT.as_bytes(), &RULES), Some(trade()));
        let combined = format!(r#"{{"stream":"btcusdt@aggTrade","data":{SPOT}}}"#);
        assert_eq!(read(combined.as_bytes(), &RULES), Some(trade()));
        let futures = SPOT.replace(r#""f":"#, r#""nq":"0.02435","f":"#);
        let futures = futures.replace(r#","M":true"#, r#","st":1"#);
        assert_eq!(read(futures.as_bytes(), &RULES), Some(trade()));
    }

    #[test]
    fn every_part_of_a_frame_is_needed() {
        for end in 0..SPOT.len() {
            assert_eq!(read(&SPOT.as_bytes()[..end], &RULES), None, "{end}");
        }
        assert_eq!(read(format!("{SPOT} ").as_bytes(), &RULES), None);
    }

    #[test]
    fn what_is_not_plain_is_left() {
        for (plain, other) in [
            ("aggTrade", "trade"),
            ("BTCUSDT", "ETHUSDT"),
            ("64682.62000000", "64682.62100000"),
            ("64682.62000000", "-64682.62"),
            ("64682.62000000", "0.00000000"),
            ("64682.62000000", "1125899906842624.01"),
            ("0.02435000", "0.02435000000000000000"),
            ("0.02435000", "99999999999999999999"),
            ("0.02435000", "1e5"),
            ("\"a\":4017087867", "\"a\":04017087867"),
            ("\"a\":4017087867", "\"a\":4017087867.0"),
            ("\"a\":4017087867", "\"a\":-4017087867"),
            ("\"a\":4017087867", "\"a\":1,\"a\":4017087867"),
            ("\"a\":4017087867", "\"a\":\"4017087867\""),
            ("6516181179", "6516181177"),
            ("1784410630174", "1784497030176"),
            ("1784410630174", "0"),
            ("\"m\":true", "\"m\":null"),
            ("\"M\":true", "\"M\":1"),
            ("\"M\":true", "\"x\":{}"),
            ("\"M\":true", "\"\\u0078\":1"),
            (",\"M\"", ", \"M\""),
        ] {
            let frame = SPOT.replacen(plain, other, 1);
            assert_ne!(frame, SPOT);
            assert_eq!(read(frame.as_bytes(), &RULES), None, "{frame}");
        }
    }
}
