/* What the drawings of all kinds of puzzles share. A grid is a flat list of tokens, in rows.

   PUZZLES has, by the name of a kind, and under "" for those without a drawing of their own:
     draw(pen, scene)   all cells; the scene has grid, inputs, labels, counts, wrong, size and layers
     legend             pairs of a text and its picture, SVG in 30 x 17
   and, where they apply:
     mark               the least size in pixels of what is drawn around a cell
     layers             further switches: {name: text}
     frame(example, data, layers)    the part that is shown, else all
     another            {outcome, state}: what is said of answers that are right without being the label */

const PUZZLES = { __proto__: null }; // a file may name any kind
const [PAD, EOS] = [0, 1];
const LEGIBLE = 9; // pixels a cell from which text is written in it

/* A pen for cells (row, column) of the frame: as those of drawing.js, with the frame besides. `mark` is the
   least size of what is drawn around a cell. */
function takeGridPen(canvas, frame, mark) {
  const side = Math.max(frame.rows, frame.columns); // a square, so that all canvases of a viewer are alike
  const { context, size } = clearCanvas(canvas) ?? {};
  if (!size) return null;
  const margin = Math.max(2, 1 + (mark - size / side) / 2);
  const unit = (size - 2 * margin) / side;
  const [x, y] = [frame.columns, frame.rows].map((count) => margin + ((side - count) * unit) / 2);
  const at = ([row, column]) => [x + (column - frame.left + 0.5) * unit, y + (row - frame.top + 0.5) * unit];
  return { context, unit, at, colours: palette(canvas), frame };
}

/* Corner and size of a cell on whole pixels, without seams. */
function box({ at }, [row, column]) {
  const [left, top] = at([row - 0.5, column - 0.5]).map(Math.round);
  const [right, bottom] = at([row + 0.5, column + 0.5]).map(Math.round);
  return [left, top, right - left, bottom - top];
}

/* Calls act(token, place in the list, cell) for all cells of the frame. */
function everyCell({ frame: { top, left, rows, columns } }, grid, [, width], act) {
  for (let row = top; row < top + rows; row++) {
    for (let column = left; column < left + columns; column++) {
      act(grid[row * width + column], row * width + column, [row, column]);
    }
  }
}

function fill(pen, cell, colour) {
  pen.context.fillStyle = colour;
  pen.context.fillRect(...box(pen, cell));
}

/* Lines between the cells, every so many rows and columns. */
function rules(pen, down, across, colour, width) {
  const { context, at, frame: { top, left, rows, columns } } = pen;
  const [x1, y1] = at([top - 0.5, left - 0.5]);
  const [x2, y2] = at([top + rows - 0.5, left + columns - 0.5]);
  context.strokeStyle = pen.colours[colour];
  context.lineWidth = width;
  context.beginPath();
  for (let row = 0; row <= rows; row += down) {
    const y = at([top + row - 0.5, left])[1];
    line(context, x1, y, x2, y);
  }
  for (let column = 0; column <= columns; column += across) {
    const x = at([top, left + column - 0.5])[0];
    line(context, x, y1, x, y2);
  }
  context.stroke();
}

function say(pen, cell, text, colour = "ink", weight = 400, share = 0.58) {
  if (pen.unit >= LEGIBLE) write(pen, text, pen.at(cell), share * pen.unit, colour, weight);
}

function drawNumbers(pen, { grid, size }) {
  everyCell(pen, grid, size, (token, i, cell) => {
    fill(pen, cell, pen.colours.paper);
    say(pen, cell, token, "ink", 400, 0.45);
  });
  rules(pen, 1, 1, "rule", 1);
  rules(pen, size[0], size[1], "rule-strong", 1);
}

PUZZLES[""] = { draw: drawNumbers, legend: [] };
