// Bundles src/ into the one file that the Python package ships: same input, same bytes, on every machine.
import { readFile } from "node:fs/promises";
import { build, context } from "esbuild";

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
    return { contents: built.outputFiles[0].text.trim(), loader: "text", watchFiles: [path] };
  });
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
  if (output.bytes > 104_000) throw new Error("The bundle is larger than 104 kB: every notebook carries it once per widget.");
}
