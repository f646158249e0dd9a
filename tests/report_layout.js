// What is wrong with the layout of a report: elements that overflow, are clipped, overlap, or leave holes.
// The list goes into the attribute data-wrong of the root, as JSON.
document.querySelectorAll("details").forEach(e => { e.open = true; });
const wrong = [], width = innerWidth, main = document.querySelector("main");
const name = e => e.tagName + "." + (e.getAttribute("class") || "") + " " + e.textContent.slice(0, 40);
const meet = (a, b) => a.left < b.right - 1 && b.left < a.right - 1 && a.top < b.bottom - 1 && b.top < a.bottom - 1;
if (document.documentElement.scrollWidth > width) wrong.push("the page is wider than the window");
for (const e of document.querySelectorAll("main *")) {
  const box = e.getBoundingClientRect(), style = getComputedStyle(e);
  if (!box.width || e.closest("svg")) continue;
  if (!e.closest(".scroll *") && (box.left < 0 || box.right > width + 0.5)) wrong.push("overflows: " + name(e));
  const cut = style.overflowX != "visible" && !e.matches(".scroll");
  if (cut || style.textOverflow != "clip") wrong.push("may be clipped: " + name(e));
  if (!e.closest(".scroll") && e.scrollWidth > e.clientWidth + 1 && style.display != "inline")
    wrong.push("content overflows: " + name(e));
}
for (const e of document.querySelectorAll(".scroll"))
  if (e.scrollWidth > e.clientWidth && !getComputedStyle(e).backgroundAttachment.includes("local"))
    wrong.push("scrolls without a hint: " + name(e));
for (const svg of document.querySelectorAll("svg")) {
  const frame = svg.getBoundingClientRect(), labels = [...svg.querySelectorAll("text")];
  const boxes = labels.map(e => e.getBoundingClientRect());
  boxes.forEach((box, i) => {
    const across = box.left < frame.left - 1 || box.right > frame.right + 1;
    if (across || box.top < frame.top - 1 || box.bottom > frame.bottom + 1)
      wrong.push("leaves the chart: " + labels[i].textContent);
    for (let j = 0; j < i; j++)
      if (meet(box, boxes[j])) wrong.push("overlap: " + labels[i].textContent + ", " + labels[j].textContent);
    if (box.height < 10) wrong.push("too small: " + labels[i].textContent);
  });
}
for (const row of document.querySelectorAll("tr")) {
  const boxes = [...row.children].filter(e => e.rowSpan == 1).map(e => e.getBoundingClientRect()).filter(b => b.width);
  boxes.forEach((box, i) => { if (i && meet(box, boxes[i - 1])) wrong.push("cells overlap: " + name(row)); });
}
const rows = new Map(), inner = main.clientWidth - 2 * parseFloat(getComputedStyle(main).paddingLeft);
for (const card of main.children) {
  const box = card.getBoundingClientRect();
  rows.set(box.top, [...(rows.get(box.top) || []), box]);
}
for (const boxes of rows.values()) {
  const filled = boxes.at(-1).right - boxes[0].left;
  if (Math.abs(filled - inner) > 1) wrong.push("a hole in the grid: " + filled + " of " + inner);
  if (new Set(boxes.map(b => Math.round(b.bottom))).size > 1) wrong.push("cards of different heights");
}
document.documentElement.dataset.wrong = JSON.stringify(wrong);
