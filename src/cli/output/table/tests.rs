use super::*;

const COLUMNS: [Column; 3] = [("NAME", 8), ("STATE", 8), ("NOTE", 6)];

fn row(cells: [&str; 3]) -> Vec<Cell> {
    cells.into_iter().map(Cell::new).collect()
}

#[test]
fn columns_are_aligned_bounded_and_without_trailing_spaces() {
    let rows = [
        row(["a", "up", ""]),
        row(["a-long-name", "", "a long note"]),
    ];
    let text = super::table(&COLUMNS, &rows);
    assert_eq!(
        text,
        "NAME      STATE  NOTE\na         up\na-lon...         a l...\n"
    );
}

#[test]
fn colours_do_not_count_as_columns() {
    let mut table = Table::with_colours(&COLUMNS, true);
    let cells = [
        Cell::new("a"),
        Cell::toned("up", Tone::Good),
        Cell::new("x"),
    ];
    table.fit(&cells);
    assert_eq!(table.line(&cells), "a     \x1b[32mup\x1b[0m     x");
}
