// WebGL2 points: 6 bytes each on the GPU (position, channel value, look), one draw per look in use.
import { CODES, type Looks, passesOf } from "./looks";
import FRAGMENT from "./points.frag";
import VERTEX from "./points.vert";
import type { Frame, Renderer } from "./renderer";

const UNIFORMS = ["place", "size", "code", "group", "point", "colours", "radius", "alpha", "cross", "greyed", "grey"] as const;

export function createWebglRenderer(onLost: () => void): Renderer | null {
  const canvas = document.createElement("canvas");
  const gl = canvas.getContext("webgl2", { alpha: false, antialias: false, depth: false });
  const program = gl && link(gl);
  if (!gl || !program) return null;
  const uniform = Object.fromEntries(UNIFORMS.map((name) => [name, gl.getUniformLocation(program, name)]));
  const buffers = { position: gl.createBuffer(), value: gl.createBuffer(), look: gl.createBuffer() };
  const texture = gl.createTexture();
  let n = 0;
  let counts = new Uint32Array(CODES);
  let disposed = false;

  gl.useProgram(program);
  gl.enable(gl.BLEND);
  gl.blendFunc(gl.ONE, gl.ONE_MINUS_SRC_ALPHA);
  gl.bindTexture(gl.TEXTURE_2D, texture);
  gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_MIN_FILTER, gl.NEAREST);
  gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_MAG_FILTER, gl.NEAREST);
  gl.pixelStorei(gl.UNPACK_ALIGNMENT, 1);
  canvas.addEventListener("webglcontextlost", (event) => {
    event.preventDefault();
    if (!disposed) onLost();
  });

  function upload(name: keyof typeof buffers, data: Uint16Array | Uint8Array, parts: number, type: number) {
    if (!gl || !program) return;
    const location = gl.getAttribLocation(program, name);
    gl.bindBuffer(gl.ARRAY_BUFFER, buffers[name]);
    gl.bufferData(gl.ARRAY_BUFFER, data as Uint8Array<ArrayBuffer>, gl.DYNAMIC_DRAW);
    gl.enableVertexAttribArray(location);
    gl.vertexAttribPointer(location, parts, type, false, 0, 0);
  }

  function draw(frame: Frame) {
    if (!gl) return;
    const width = Math.max(Math.round(frame.width * frame.ratio), 1);
    const height = Math.max(Math.round(frame.height * frame.ratio), 1);
    if (canvas.width !== width || canvas.height !== height) {
      canvas.width = width;
      canvas.height = height;
    }
    gl.viewport(0, 0, width, height);
    gl.clearColor(frame.background[0] / 255, frame.background[1] / 255, frame.background[2] / 255, 1);
    gl.clear(gl.COLOR_BUFFER_BIT);
    const { scaleX, scaleY, offsetX, offsetY } = frame.transform;
    gl.uniform4f(uniform.place!, scaleX, scaleY, offsetX, offsetY);
    gl.uniform2f(uniform.size!, frame.width, frame.height);
    gl.uniform3f(uniform.grey!, frame.grey[0] / 255, frame.grey[1] / 255, frame.grey[2] / 255);
    gl.uniform1i(uniform.colours!, 0);
    for (const { level, shape } of passesOf(counts, frame.styles, frame.ratio)) {
      const style = frame.styles[level]!;
      const radius = style.radius * frame.ratio;
      const cross = shape === "cross";
      gl.uniform1f(uniform.group!, shape === "any" ? 2 : 1);
      gl.uniform1f(uniform.code!, shape === "any" ? level : 2 * level + (cross ? 1 : 0));
      gl.uniform1f(uniform.radius!, radius);
      gl.uniform1f(uniform.point!, Math.ceil(2 * radius * 1.3 + 2));
      gl.uniform1f(uniform.alpha!, style.alpha);
      gl.uniform1f(uniform.cross!, cross ? 1 : 0);
      gl.uniform1f(uniform.greyed!, style.grey ? 1 : 0);
      gl.drawArrays(gl.POINTS, 0, n);
    }
  }

  return {
    name: "webgl2",
    canvas,
    setPositions(positions) {
      n = positions.length >> 1;
      upload("position", positions, 2, gl.UNSIGNED_SHORT);
    },
    setColours(values, table) {
      upload("value", values, 1, gl.UNSIGNED_BYTE);
      gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGB8, 256, 1, 0, gl.RGB, gl.UNSIGNED_BYTE, table);
    },
    setLooks(looks: Looks) {
      counts = looks.counts as Uint32Array<ArrayBuffer>;
      upload("look", looks.codes, 1, gl.UNSIGNED_BYTE);
    },
    draw,
    dispose() {
      disposed = true;
      gl.getExtension("WEBGL_lose_context")?.loseContext();
      canvas.remove();
    },
  };
}

function link(gl: WebGL2RenderingContext): WebGLProgram | null {
  const program = gl.createProgram();
  for (const [type, source] of [[gl.VERTEX_SHADER, VERTEX], [gl.FRAGMENT_SHADER, FRAGMENT]] as const) {
    const shader = gl.createShader(type);
    if (!shader) return null;
    gl.shaderSource(shader, source);
    gl.compileShader(shader);
    gl.attachShader(program, shader);
  }
  gl.linkProgram(program);
  return gl.getProgramParameter(program, gl.LINK_STATUS) ? program : null;
}
