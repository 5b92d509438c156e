// What the bundler writes for JSX: preact's h is shorter in the bundle than the automatic runtime.
export { Fragment, h } from "preact";
