// Every text that a reader sees, with the contrast (WCAG 2) of its colour with what is behind it; those that are too faint.
(() => {
  const parts = (text) => {
    const [r, g, b, a = 1] = (text.match(/[\d.]+/g) ?? []).map(Number);
    return [r, g, b, a];
  };
  const over = ([r, g, b, a], back) => [r, g, b].map((x, i) => x * a + back[i] * (1 - a));
  const behind = (element) => {
    const layers = [];
    for (let at = element; at; at = at.parentElement) {
      const layer = parts(getComputedStyle(at).backgroundColor);
      if (layer[3] > 0) layers.push(layer);
      if (layer[3] === 1) break;
    }
    return layers.reverse().reduce((back, layer) => over(layer, back), [255, 255, 255]);
  };
  const light = (rgb) => {
    const [r, g, b] = rgb.map((x) => x / 255).map((x) => (x <= 0.04045 ? x / 12.92 : ((x + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const faint = new Map();
  let seen = 0;
  const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let node = walk.nextNode(); node; node = walk.nextNode()) {
    const element = node.parentElement;
    if (!node.textContent.trim() || element.closest("script, style, .hidden")) continue;
    if (!element.checkVisibility({ opacityProperty: true, visibilityProperty: true })) continue;
    const style = getComputedStyle(element);
    let opacity = 1;
    for (let at = element; at; at = at.parentElement) opacity *= +getComputedStyle(at).opacity;
    const svg = element.namespaceURI.endsWith("svg");
    const [r, g, b, a] = parts(svg ? style.fill : style.color);
    if (r === undefined) continue;
    const back = behind(element);
    const text = over([r, g, b, a * opacity * (svg ? +style.fillOpacity : 1)], back);
    const [high, low] = [light(text), light(back)].sort((x, y) => y - x);
    const size = parseFloat(style.fontSize);
    const large = size >= 24 || (size >= 18.66 && +style.fontWeight >= 700);
    const ratio = (high + 0.05) / (low + 0.05);
    seen += 1;
    if (ratio < (large ? 3 : 4.5) - 0.005) faint.set(`${ratio.toFixed(2)} ${element.className.baseVal ?? element.className}`, node.textContent.trim().slice(0, 40));
  }
  return { seen, faint: [...faint].map((pair) => pair.join(": ")) };
})()
