//! A page that is drawn again in place, for the verbs that go on with `-w`.

use crate::output;
use std::io::IsTerminal as _;

/// Draws a page over the one before on a terminal; elsewhere prints it below.
pub fn draw(page: &str) {
    if !std::io::stdout().is_terminal() {
        output::print(page);
        return;
    }
    // Home, the page, and clear what an earlier, longer page left. Lines wider than the terminal are cut at its
    // edge: one that wrapped would push the rest down at every draw.
    let page = page.replace('\n', "\x1b[K\n");
    output::print(&format!("\x1b[?7l\x1b[H{page}\x1b[J\x1b[?7h"));
}
