// The retraining half of the stub: a pool, plans, and runs that take six seconds. Options: noroute, nopool, noruns, cell, failed, interrupted, partly, thrown.

const REMEDIES = [
  ["direction", "Highest score", "Adds the pool images that lie furthest toward failure."],
  ["nearest", "Look-alikes", "Adds the pool images that look most like the slice's failures."],
  ["confidence", "Least sure", "Adds the pool images of which the model is least sure."],
  ["loss", "Highest loss", "Adds the pool images on which the model's loss is highest."],
  ["random", "Random", "Adds pool images of the same classes, drawn at random."],
  ["own", "From the notebook", "Adds what the plan of your notebook adds."],
  ["upweight", "Count twice", "Counts the training examples that look like the slice twice.", "What found this group is not here to find it again: give the Explorer the fitted finder itself."],
];
const BUDGETLESS = ["own", "upweight"];
const ENDED = ["done", "cancelled", "failed", "interrupted"];
const TRACEBACK = `Traceback (most recent call last):
  File "/home/ada/notebook.ipynb", line 12, in fix
    better = failviz.retrain(model, plan, train_set, pool_set, on_progress=ctx.progress)
RuntimeError: mat1 and mat2 shapes cannot be multiplied (32x512 and 256x8)`;

/** `world` is the pool's; `find` gives a slice of the Explorer by its key; `rise` raises the revision of runs. */
export function createRetraining({ world: w, classes, options, slices, find, example, thumbnails, rise }) {
  const pool = Array.from({ length: w.n }, (_, i) => i);
  const confirmed = () => slices().filter((s) => s.data.status === "confirmed");
  const targetsOf = ({ target, slice }) => (target === "slice" ? [find(slice)] : confirmed());
  const labelOf = (remedy) => REMEDIES.find(([key]) => key === remedy)[1];
  let revision = 0, asked = [];
  const kept = new Map(options.thrown ? [["slice f0", [1, 2, 3]]] : []);
  const placeOf = ({ target, slice }) => `${target} ${slice}`;
  const bump = () => { revision += 1; rise(); };

  function makePlan({ target, slice, remedy, budget, thrown_out }) {
    if (budget > 5000) throw new Error(`a budget of ${budget} is more than half of the pool: take at most 5,000.`);
    const targets = targetsOf({ target, slice }), scopes = new Set(targets.map((s) => s.data.scope));
    const fits = pool.filter((i) => scopes.has(classes[w.label[i]])), out = new Set(thrown_out);
    const by = remedy === "loss" ? w.loss : remedy === "random" ? w.late : w.score;
    const rows = fits.filter((i) => !out.has(i)).sort((a, b) => by[b] - by[a]).slice(0, budget ?? 150);
    const counts = {};
    for (const i of rows) counts[classes[w.label[i]]] = (counts[classes[w.label[i]]] ?? 0) + 1;
    return {
      title: `${labelOf(remedy)}: ${rows.length} images for ${targets.length === 1 ? targets[0].data.name : `${targets.length} slices`}`,
      reason: `Of the pool images of the same class, those with the highest score of the slice: ${rows.length} of ${fits.length}.`,
      n: rows.length, n_thrown_out: out.size, targets: targets.map((s) => ({ key: s.data.key, name: s.data.name })),
      by_label: Object.entries(counts).map(([name, count]) => ({ name, count })),
      cautions: budget > 300 ? ["More than 300 images of one class may hurt the others: look at the classes after the run."] : [],
      examples: rows.slice(0, 2000).map((row) => ({ row, id: `pool-${String(row).padStart(5, "0")}`, label: classes[w.label[row]], score: remedy === "random" ? null : w.score[row] })),
    };
  }

  function resultsOf(args, arms, seed) {
    const keys = new Set(targetsOf(args).map((s) => s.data.key));
    /** Each run leaves out the examples that chose its additions, and so has its own n and rate before. */
    const out = (n) => n - Math.min(17 * (seed - 1), n >> 1);
    const cell = (arm, before, n, by) => {
      const change = before === null ? null : Math.max(by, -before), half = 0.9 / Math.sqrt(n);
      return { arm, n, before, after: before === null ? null : before + change, change, low: change === null ? null : Math.max(change - half, -1), high: change === null ? null : Math.min(change + half, 1), fixed: Math.round(n * 0.2), broken: Math.round(n * 0.05), verdict: change === null || Math.abs(change) < half ? "no clear change" : change < 0 ? "better" : "worse" };
    };
    const row = (group, name, key, all, rate, by, extra = {}) => {
      const n = out(all), before = rate === null ? null : Math.round(rate * all * (n / all) ** 1.4) / n;
      return { group, name, key, n, before, is_target: false, held_out: true, caution: null, cells: arms.map((arm, i) => cell(arm, before, n, i ? by * 0.2 : by)), ...extra };
    };
    const rows = [
      row("overall", "all images", null, 4000, 0.146, -0.03),
      ...[...slices()].sort((a, b) => keys.has(b.data.key) - keys.has(a.data.key)).map((s, i) => row("slice", s.data.name, s.data.key, s.data.n, s.data.error_rate, keys.has(s.data.key) ? -0.3 : 0.14 - 0.05 * i - 0.01 * seed, {
        is_target: keys.has(s.data.key), ...(keys.has(s.data.key) && seed === 1 ? { held_out: false, caution: "the examples that chose the additions are in it: part of the gain may be chance" } : {}), ...(s.data.kind === "drawn" ? { held_out: false, caution: "drawn on these images: not held out" } : {}),
      })),
      ...classes.map((name, i) => row("class", name, null, 480 + i, 0.1 + 0.02 * i, 0.09 - 0.02 * i)),
    ];
    const against = rows.filter((one) => one.group === "overall" || one.is_target).map(({ name, key, n, cells: [plan, control] }) => ({ name, key, n, change: plan.change - control?.change, low: plan.change - control?.change - 0.05, high: plan.change - control?.change + 0.01, verdict: "better" }));
    return { note: `${seed > 1 ? `${17 * (seed - 1)} examples that chose the additions are left out; ` : ""}95% intervals of the paired change`, arms, rows, versus: arms[1] ? { arm: arms[1], rows: against } : null };
  }

  const curve = (arm, share, floor) => ({ arm, loss: Array.from({ length: Math.round(40 * share) }, (_, i) => floor + (2 - floor) * Math.exp(-i / 9) + 0.05 * Math.sin(i * 1.7)), validation: Array.from({ length: Math.round(5 * share) }, (_, i) => floor + 0.2 + (1.6 - floor) * Math.exp(-i / 1.4)) });
  const past = (number, args, extra) => ({ number, args, title: `${labelOf(args.remedy)}, ${args.budget} for ${targetsOf(args)[0].data.name}`, status: "done", started: new Date(Date.now() - (4 - number) * 47 * 60_000).toISOString(), seconds: 41.3 * number, n_added: args.budget, arms: args.control ? ["plan", "random"] : ["plan"], share: 1, doing: null, error: null, traceback: null, log: "fitting the last layer\n0.4 s, loss 0.31\n", progress: 1, has_results: true, ...extra });
  const base = { target: "slice", slice: "f0", remedy: "direction", budget: 100, thrown_out: [], control: true };
  let runs = options.noruns || slices().length === 0 ? [] : [
    past(2, { ...base, slice: "f1", remedy: "loss", budget: 200, control: false }),
    past(1, base),
  ];
  if (options.failed) runs.unshift(past(3, base, { status: "failed", has_results: false, error: "RuntimeError: mat1 and mat2 shapes cannot be multiplied (32x512 and 256x8)", traceback: TRACEBACK, progress: 0.3 }));
  if (options.interrupted) runs.unshift(past(3, base, { status: "interrupted", seconds: null, progress: 0.3, has_results: false }));
  if (options.partly) runs.unshift(past(3, base, { status: "cancelled", arms: ["plan"], progress: 0.7 }));

  function tick(run) {
    if (ENDED.includes(run.status)) return;
    const end = (status, extra = {}) => Object.assign(run, { status, doing: null, ...extra });
    run.progress = Math.min(run.progress + 1 / 30, 1);
    run.seconds = (Date.now() - Date.parse(run.started)) / 1000;
    run.status = "running";
    run.share = run.progress < 0.1 ? null : run.progress;
    run.doing = run.progress < 0.1 ? "loading the pool images" : run.progress < 0.6 ? "plan: epoch 2 of 5" : run.arms[1] ? "random: epoch 4 of 5" : "measuring";
    run.log += `step ${Math.round(run.progress * 30)}: loss ${(2 * Math.exp(-3 * run.progress)).toFixed(3)}\n`;
    if (run.stopped && run.progress > run.stopped + 0.15) end("cancelled");
    else if (run.args.remedy === "loss" && run.progress > 0.5) end("failed", { error: "RuntimeError: mat1 and mat2 shapes cannot be multiplied (32x512 and 256x8)", traceback: TRACEBACK });
    else if (run.progress >= 1) end("done", { share: 1 });
    run.has_results = run.progress >= 0.6 && run.status !== "failed";
    bump();
    if (!ENDED.includes(run.status)) setTimeout(tick, 200, run);
  }

  const listed = ({ number, title, status, started, seconds, n_added, arms, share, doing, error, has_results }) => ({ number, title, status, started, seconds, n_added, arms, share, doing, error, has_results });
  const find_ = (number) => { const run = runs.find((one) => one.number === number); if (!run) throw new Error(`There is no run ${number}.`); return run; };

  return {
    asked,
    route: () => { options.noroute = false; bump(); },
    handlers: {
      retraining: ({ target, slice }) => [{
        pool: options.nopool ? null : { n: w.n, unit: options.source === "text" ? "texts" : "images", source: options.source ?? "image" },
        problem: options.nopool ? "There is nothing to retrain on yet. Give the Explorer a pool of examples to add from, Explorer(..., pool=failviz.evaluate(model, pool_set)), or the training examples, train=." : null,
        route: options.noroute ? null : { kind: options.cell ? "cell" : "function", name: "fix" }, n_confirmed: confirmed().length, budget: 100, thrown_out: kept.get(placeOf({ target, slice })) ?? [],
        remedies: REMEDIES.map(([key, label, does, why = null]) => ({ key, label, does, uses_budget: !BUDGETLESS.includes(key), available: why === null, why })),
      }],
      plan: (args) => { asked.push(args); kept.set(placeOf(args), args.thrown_out); return [makePlan(args)]; },
      pool_thumbnails: thumbnails,
      run: (args) => {
        if (runs.some((run) => !ENDED.includes(run.status))) throw new Error("A run is going on: wait for its end, or cancel it.");
        const plan = makePlan(args), number = (runs[0]?.number ?? 0) + 1;
        const run = { number, args, title: plan.title, status: "queued", started: new Date().toISOString(), seconds: null, n_added: plan.n, arms: args.control ? ["plan", "random"] : ["plan"], share: null, doing: null, error: null, traceback: null, log: "", progress: 0, has_results: false };
        runs = [run, ...runs];
        setTimeout(tick, 200, run);
        bump();
        return [{ number, message: `run ${number} has started` }];
      },
      stop_run: ({ number }) => { find_(number).stopped ??= find_(number).progress; return [{ message: `run ${number} is stopping` }]; },
      runs: () => [{ revision, runs: runs.map(listed) }],
      run_detail: ({ number }) => {
        const run = find_(number), { n_added, arms, has_results, ...rest } = listed(run);
        const shares = [Math.min(run.progress / 0.6, 1), Math.max((run.progress - 0.6) / 0.4, 0)];
        return [{ ...rest, reason: "Those with the highest score of the slice.", traceback: run.traceback, log: run.log, targets: targetsOf(run.args).map((s) => ({ key: s.data.key, name: s.data.name })), curves: arms.map((arm, i) => curve(arm, shares[i], 0.3 + 0.25 * i)), results: has_results ? resultsOf(run.args, run.progress < 1 ? arms.slice(0, 1) : arms, number) : null }];
      },
      changed: ({ of, slice, change, offset, limit, number }) => {
        const rows = (of === "slice" ? find(slice).rows : find("f0").rows.concat(find("f1").rows, find("f2").rows)).filter((i) => (change === "broken" ? i % 9 === number : example(i).wrong && (change === "fixed") === (i % 2 === 0)));
        return [{ total: rows.length, examples: rows.slice(offset, offset + limit).map((i) => { const { row, id, label, prediction } = example(i); return { row, id, label, prediction: change === "broken" ? label : prediction, after: change === "fixed" ? label : change === "broken" ? "ankle boot" : prediction }; }) }];
      },
    },
  };
}
