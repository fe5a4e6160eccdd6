//! Text of trade archives to columns of integers, exactly.
//!
//! A line is one trade; its fields stand between commas and mean what the caller says. Lines in
//! plain form take a fast path of eight digits at a time; any other line is read again field by
//! field, which also finds out what is wrong with it.

/// Most decimals a grid may have.
pub const DECIMALS_MAX: u32 = 12;

const POWERS: [i64; 19] = {
    let mut powers = [1; 19];
    let mut i = 1;
    while i < powers.len() {
        powers[i] = powers[i - 1] * 10;
        i += 1;
    }
    powers
};

/// What a field of a line means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Not read.
    Skip,
    /// Aggregate trade id.
    AggId,
    /// Time in whatever unit the file has.
    Time,
    /// Price, a decimal number.
    Price,
    /// Quantity, a decimal number.
    Qty,
    /// First raw trade id.
    FirstId,
    /// Last raw trade id.
    LastId,
    /// `true` or `1` where the buyer was the maker, `false` or `0` where the seller was.
    BuyerMaker,
    /// `buy` or `sell`: what the aggressor did.
    Side,
}

impl Role {
    /// Returns the role that a letter of `-atpqflms` stands for, in the order of the variants
    /// Skip, `AggId`, Time, Price, Qty, `FirstId`, `LastId`, `BuyerMaker`, Side.
    #[must_use]
    pub fn of_letter(letter: char) -> Option<Self> {
        Some(match letter {
            '-' => Self::Skip,
            'a' => Self::AggId,
            't' => Self::Time,
            'p' => Self::Price,
            'q' => Self::Qty,
            'f' => Self::FirstId,
            'l' => Self::LastId,
            'm' => Self::BuyerMaker,
            's' => Self::Side,
            _ => return None,
        })
    }
}

/// Equally long columns; prices and quantities are counted in 10^-decimals.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Columns {
    /// Aggregate trade ids.
    pub agg_id: Vec<i64>,
    /// Times as they stand in the text.
    pub time: Vec<i64>,
    /// Prices in ticks.
    pub price: Vec<i64>,
    /// Quantities in lots.
    pub qty: Vec<i64>,
    /// First raw trade ids; -1 where the text has none.
    pub first_id: Vec<i64>,
    /// Last raw trade ids; -1 where the text has none.
    pub last_id: Vec<i64>,
    /// +1 where the buyer was the aggressor, -1 where the seller was.
    pub side: Vec<i8>,
    /// Decimals of `price`.
    pub price_decimals: u32,
    /// Decimals of `qty`.
    pub qty_decimals: u32,
    /// Lines read, empty ones included.
    pub line_count: usize,
}

/// What is wrong with a piece of text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Another number of fields than there are roles.
    FieldCount,
    /// No integer.
    Integer,
    /// No plain decimal number.
    Decimal,
    /// A decimal number below zero.
    Negative,
    /// More significant decimals than [`DECIMALS_MAX`].
    Decimals,
    /// Does not fit 64 bits on the grid that the text needs.
    Large,
    /// Neither true nor false.
    Flag,
    /// Neither buy nor sell.
    Side,
}

impl Fault {
    /// Returns what to say about the text.
    #[must_use]
    pub fn text(self) -> &'static str {
        match self {
            Self::FieldCount => "has the wrong number of columns",
            Self::Integer => "is not an integer",
            Self::Decimal => "is not a plain decimal number",
            Self::Negative => "is negative",
            Self::Decimals => "has more than 12 decimals",
            Self::Large => "is too large",
            Self::Flag => "is neither true nor false",
            Self::Side => "is neither buy nor sell",
        }
    }
}

/// The first line that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadText {
    /// What is wrong.
    pub fault: Fault,
    /// Number of the line in the text, from 0.
    pub line: usize,
    /// Number of the field in the line, from 0; 0 for a wrong number of fields.
    pub field: usize,
    /// The field, or the whole line for a wrong number of fields.
    pub value: String,
}

/// Reads whole lines, each ended by a line feed, with or without a carriage return before it.
///
/// The columns come on the coarsest grid that holds every number exactly and is not coarser than
/// the decimals given. Empty lines are passed over.
///
/// # Errors
/// Names the first line that cannot be read; an unended last line counts as one.
pub fn parse(
    text: &[u8],
    roles: &[Role],
    price_decimals: u32,
    qty_decimals: u32,
) -> Result<Columns, BadText> {
    let rows = text.len() / 64 + 1;
    let mut columns = Columns {
        agg_id: Vec::with_capacity(rows),
        time: Vec::with_capacity(rows),
        price: Vec::with_capacity(rows),
        qty: Vec::with_capacity(rows),
        first_id: Vec::with_capacity(rows),
        last_id: Vec::with_capacity(rows),
        side: Vec::with_capacity(rows),
        price_decimals: price_decimals.min(DECIMALS_MAX),
        qty_decimals: qty_decimals.min(DECIMALS_MAX),
        line_count: 0,
    };
    let mut at = 0;
    while at < text.len() {
        if let Some((row, end)) = plain_row(text, at, roles, &columns) {
            columns.push(&row);
            at = end;
        } else {
            let (line, end) = line_at(text, at);
            if !line.is_empty() {
                let row = columns.any_row(line, roles)?;
                columns.push(&row);
            }
            at = end;
        }
        columns.line_count += 1;
    }
    Ok(columns)
}

struct Row {
    agg_id: i64,
    time: i64,
    price: i64,
    qty: i64,
    first_id: i64,
    last_id: i64,
    side: i8,
}

const BLANK: Row = Row {
    agg_id: -1,
    time: 0,
    price: 0,
    qty: 0,
    first_id: -1,
    last_id: -1,
    side: 0,
};

impl Columns {
    fn push(&mut self, row: &Row) {
        self.agg_id.push(row.agg_id);
        self.time.push(row.time);
        self.price.push(row.price);
        self.qty.push(row.qty);
        self.first_id.push(row.first_id);
        self.last_id.push(row.last_id);
        self.side.push(row.side);
    }

    fn any_row(&mut self, line: &[u8], roles: &[Role]) -> Result<Row, BadText> {
        let at_line = self.line_count;
        let bad = |fault, field, value: &[u8]| BadText {
            fault,
            line: at_line,
            field,
            value: String::from_utf8_lossy(value).into_owned(),
        };
        if line.split(|&byte| byte == b',').count() != roles.len() {
            return Err(bad(Fault::FieldCount, 0, line));
        }
        let mut row = BLANK;
        for (i, (field, role)) in line.split(|&byte| byte == b',').zip(roles).enumerate() {
            let field = bare(field);
            let done = match role {
                Role::Skip => Ok(()),
                Role::AggId => integer(field).map(|value| row.agg_id = value),
                Role::Time => integer(field).map(|value| row.time = value),
                Role::FirstId => integer(field).map(|value| row.first_id = value),
                Role::LastId => integer(field).map(|value| row.last_id = value),
                Role::Price => {
                    decimal(field, &mut self.price, &mut self.price_decimals).map(|v| row.price = v)
                }
                Role::Qty => {
                    decimal(field, &mut self.qty, &mut self.qty_decimals).map(|v| row.qty = v)
                }
                Role::BuyerMaker => maker_side(field)
                    .map(|side| row.side = side)
                    .ok_or(Fault::Flag),
                Role::Side => side(field).map(|side| row.side = side).ok_or(Fault::Side),
            };
            done.map_err(|fault| bad(fault, i, field))?;
        }
        Ok(row)
    }
}

fn plain_row(text: &[u8], start: usize, roles: &[Role], grid: &Columns) -> Option<(Row, usize)> {
    let mut row = BLANK;
    let mut at = start;
    for (i, role) in roles.iter().enumerate() {
        let end = match role {
            Role::Skip => field_end(text, at),
            Role::AggId => plain_integer(text, at, &mut row.agg_id)?,
            Role::Time => plain_integer(text, at, &mut row.time)?,
            Role::FirstId => plain_integer(text, at, &mut row.first_id)?,
            Role::LastId => plain_integer(text, at, &mut row.last_id)?,
            Role::Price => plain_decimal(text, at, grid.price_decimals, &mut row.price)?,
            Role::Qty => plain_decimal(text, at, grid.qty_decimals, &mut row.qty)?,
            Role::BuyerMaker => {
                let end = field_end(text, at);
                row.side = maker_side(&text[at..end])?;
                end
            }
            Role::Side => {
                let end = field_end(text, at);
                row.side = side(&text[at..end])?;
                end
            }
        };
        at = if i + 1 < roles.len() {
            after(text, end, b',')?
        } else {
            after(text, end, b'\n')
                .or_else(|| after(text, end, b'\r').and_then(|next| after(text, next, b'\n')))?
        };
    }
    Some((row, at))
}

fn after(text: &[u8], at: usize, byte: u8) -> Option<usize> {
    (text.get(at) == Some(&byte)).then_some(at + 1)
}

fn field_end(text: &[u8], at: usize) -> usize {
    let rest = &text[at..];
    at + rest
        .iter()
        .position(|byte| matches!(byte, b',' | b'\n' | b'\r'))
        .unwrap_or(rest.len())
}

fn line_at(text: &[u8], at: usize) -> (&[u8], usize) {
    let rest = &text[at..];
    let length = rest
        .iter()
        .position(|&byte| byte == b'\n')
        .unwrap_or(rest.len());
    let line = &rest[..length];
    (
        line.strip_suffix(b"\r").unwrap_or(line),
        (at + length + 1).min(text.len()),
    )
}

fn bare(field: &[u8]) -> &[u8] {
    let field = field.trim_ascii();
    match field {
        [b'"', inner @ .., b'"'] => inner.trim_ascii(),
        _ => field,
    }
}

fn maker_side(field: &[u8]) -> Option<i8> {
    match field {
        b"True" | b"true" | b"1" => Some(-1),
        b"False" | b"false" | b"0" => Some(1),
        _ if field.eq_ignore_ascii_case(b"true") => Some(-1),
        _ if field.eq_ignore_ascii_case(b"false") => Some(1),
        _ => None,
    }
}

fn side(field: &[u8]) -> Option<i8> {
    if field.eq_ignore_ascii_case(b"buy") {
        Some(1)
    } else if field.eq_ignore_ascii_case(b"sell") {
        Some(-1)
    } else {
        None
    }
}

/// Reads at most 18 digits; returns their value and the end. More digits are left unread.
fn digits(text: &[u8], start: usize) -> (i64, usize) {
    let mut value = 0_i64;
    let mut at = start;
    while at - start < 16 {
        let Some(Ok(bytes)) = text.get(at..at + 8).map(<[u8; 8]>::try_from) else {
            break;
        };
        let (eight, count) = leading_digits(u64::from_le_bytes(bytes));
        value = value.wrapping_mul(POWERS[count]).wrapping_add(eight);
        at += count;
        if count < 8 {
            return (value, at);
        }
    }
    while at - start < 18 {
        match text.get(at) {
            Some(byte @ b'0'..=b'9') => value = value * 10 + i64::from(byte - b'0'),
            _ => break,
        }
        at += 1;
    }
    (value, at)
}

/// Returns the value and the number of the digits that eight bytes, lowest first, begin with.
fn leading_digits(bytes: u64) -> (i64, usize) {
    let values = bytes ^ 0x3030_3030_3030_3030;
    // The lowest high bit marks the first byte that is no digit; carries only reach later ones.
    let others = (values.wrapping_add(0x7676_7676_7676_7676) | values) & 0x8080_8080_8080_8080;
    if others & 0xFF != 0 {
        return (0, 0);
    }
    let count = others.trailing_zeros() / 8;
    let values = values << (64 - 8 * count);
    let pairs = values.wrapping_mul(10).wrapping_add(values >> 8) & 0x00FF_00FF_00FF_00FF;
    let fours = pairs.wrapping_mul(100).wrapping_add(pairs >> 16) & 0x0000_FFFF_0000_FFFF;
    let eight = fours.wrapping_mul(10_000).wrapping_add(fours >> 32) & 0xFFFF_FFFF;
    (i64::from_ne_bytes(eight.to_ne_bytes()), count as usize)
}

fn plain_integer(text: &[u8], start: usize, value: &mut i64) -> Option<usize> {
    let (found, end) = digits(text, start);
    *value = found;
    (end > start).then_some(end)
}

fn plain_decimal(text: &[u8], start: usize, decimals: u32, value: &mut i64) -> Option<usize> {
    let (whole, dot) = digits(text, start);
    if dot == start {
        return None;
    }
    let power = POWERS[decimals as usize];
    let scaled = whole.checked_mul(power)?;
    if text.get(dot) != Some(&b'.') {
        *value = scaled;
        return Some(dot);
    }
    let (fraction, end) = digits(text, dot + 1);
    let count = end - dot - 1;
    let part = if count <= decimals as usize {
        fraction * POWERS[decimals as usize - count]
    } else {
        let excess = POWERS[count - decimals as usize];
        let part = fraction / excess;
        if part * excess != fraction {
            return None;
        }
        part
    };
    *value = scaled.checked_add(part)?;
    Some(end)
}

fn integer(field: &[u8]) -> Result<i64, Fault> {
    let (negative, text) = match field {
        [b'-', rest @ ..] => (true, rest),
        _ => (false, field),
    };
    if text.is_empty() || !text.iter().all(u8::is_ascii_digit) {
        return Err(Fault::Integer);
    }
    let (value, end) = digits(text, 0);
    if end < text.len() {
        return Err(Fault::Large);
    }
    Ok(if negative { -value } else { value })
}

fn decimal(field: &[u8], column: &mut [i64], decimals: &mut u32) -> Result<i64, Fault> {
    let (negative, text) = match field {
        [b'-', rest @ ..] => (true, rest),
        _ => (false, field),
    };
    let dot = text
        .iter()
        .position(|&byte| byte == b'.')
        .unwrap_or(text.len());
    let (whole, fraction) = (&text[..dot], text.get(dot + 1..).unwrap_or_default());
    if whole.is_empty() || !whole.iter().chain(fraction).all(u8::is_ascii_digit) {
        return Err(Fault::Decimal);
    }
    if negative {
        return Err(Fault::Negative);
    }
    let zeros = fraction
        .iter()
        .rev()
        .take_while(|&&byte| byte == b'0')
        .count();
    let fraction = &fraction[..fraction.len() - zeros];
    let needed = u32::try_from(fraction.len()).unwrap_or(u32::MAX);
    if needed > DECIMALS_MAX {
        return Err(Fault::Decimals);
    }
    let whole_zeros = whole.iter().take_while(|&&byte| byte == b'0').count();
    let whole = &whole[whole_zeros..];
    let (value, end) = digits(whole, 0);
    if end < whole.len() {
        return Err(Fault::Large);
    }
    if needed > *decimals {
        let factor = POWERS[(needed - *decimals) as usize];
        if column
            .iter()
            .any(|value| value.checked_mul(factor).is_none())
        {
            return Err(Fault::Large);
        }
        for value in column {
            *value *= factor;
        }
        *decimals = needed;
    }
    let part = digits(fraction, 0).0 * POWERS[(*decimals - needed) as usize];
    value
        .checked_mul(POWERS[*decimals as usize])
        .and_then(|scaled| scaled.checked_add(part))
        .ok_or(Fault::Large)
}

#[cfg(test)]
mod tests {
    use super::leading_digits;

    #[test]
    fn every_byte_that_is_no_digit_ends_a_number() {
        for byte in (0..=u8::MAX).filter(|byte| !byte.is_ascii_digit()) {
            for place in 0..8 {
                let mut bytes = *b"12345678";
                bytes[place] = byte;
                let expected = "12345678"[..place].parse().unwrap_or(0);
                assert_eq!(leading_digits(u64::from_le_bytes(bytes)), (expected, place));
            }
        }
        assert_eq!(
            leading_digits(u64::from_le_bytes(*b"98765432")),
            (98_765_432, 8)
        );
    }
}
