// Bundles src/ into the one file that the Python package ships: same input, same bytes, on every machine.
import { readFile, readdir } from "node:fs/promises";
import { build, context } from "esbuild";

const sources = (await readdir("src", { recursive: true })).filter((name) => /\.(tsx?|css)$/.test(name));
const NAME = /\bfv-[a-z-]*[a-z]/g;
const texts = await Promise.all(sources.map((name) => readFile(`src/${name}`, "utf8")));
const counts = new Map();
for (const name of texts.join("\n").match(NAME)) counts.set(name, (counts.get(name) ?? 0) + 1);
const names = [...counts.keys()].sort((a, b) => counts.get(b) - counts.get(a) || (a < b ? -1 : 1));
/** Names of classes and variables are written out in the sources, and would be a twentieth of the bundle. */
const shorten = (text) => text.replace(NAME, (name) => (counts.has(name) ? `fv${names.indexOf(name).toString(36)}` : name));

const options = {
  entryPoints: ["src/index.tsx"],
  outfile: "../failviz/widget/static/explorer.js",
  bundle: true,
  format: "esm",
  target: ["es2022"],
  minify: true,
  charset: "utf8",
  legalComments: "none",
  plugins: [{ name: "inlined-text", setup: inlineText }],
  tsconfigRaw: { compilerOptions: { strict: true, jsx: "react", jsxFactory: "h", jsxFragmentFactory: "Fragment" } },
  inject: ["src/jsx.ts"],
  logLevel: "warning",
  metafile: true,
};

/** Styles travel inside the bundle as one minified string, so that a shadow root can take them too; shaders likewise. */
function inlineText(setup) {
  setup.onLoad({ filter: /\.css$/ }, async ({ path }) => {
    const built = await build({ entryPoints: [path], bundle: true, minify: true, write: false, charset: "utf8", target: ["es2022"] });
    const text = built.outputFiles[0].text.trim().replace(/(--[a-z-]+:|,) /g, "$1"); // in values of variables esbuild leaves spaces
    return { contents: shorten(text), loader: "text", watchFiles: [path] };
  });
  setup.onLoad({ filter: /src\/.*\.tsx?$/ }, async ({ path }) => ({ contents: shorten(await readFile(path, "utf8")), loader: path.endsWith("x") ? "tsx" : "ts" }));
  setup.onLoad({ filter: /\.(vert|frag)$/ }, async ({ path }) => {
    const [version, ...lines] = (await readFile(path, "utf8")).trim().split("\n");
    const body = lines.join(" ").replace(/\s+/g, " ").replace(/ ?([=+\-*/,;{}()<>?:|&]) ?/g, "$1");
    return { contents: `${version}\n${body}`, loader: "text", watchFiles: [path] };
  });
}

if (process.argv.includes("--watch")) {
  await (await context(options)).watch();
} else {
  const { metafile } = await build(options);
  const [file, output] = Object.entries(metafile.outputs)[0];
  console.log(`${file}: ${output.bytes.toLocaleString("en")} bytes`);
  // 104 kB until the views Retrain and Compare came: a plan, its preview, runs and the table of changes are the rest.
  if (output.bytes > 128_000) throw new Error("The bundle is larger than 128 kB, which the map, the gallery, the retraining and the comparison need together: every notebook carries it once per widget.");
}
