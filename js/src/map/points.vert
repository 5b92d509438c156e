#version 300 es
in vec2 position; in float value; in float look;
uniform vec4 place; uniform vec2 size; uniform float code, group, point; uniform sampler2D colours;
out vec3 colour;
void main() {
  if (floor(look / group) != code) { gl_Position = vec4(2.0, 2.0, 2.0, 1.0); gl_PointSize = 1.0; return; }
  vec2 at = position * place.xy + place.zw;
  gl_Position = vec4(at.x / size.x * 2.0 - 1.0, 1.0 - at.y / size.y * 2.0, 0.0, 1.0);
  gl_PointSize = point;
  colour = texelFetch(colours, ivec2(int(value), 0), 0).rgb;
}
