#version 300 es
precision highp float;
in vec3 colour;
uniform float point, radius, alpha, cross, greyed; uniform vec3 grey;
out vec4 result;
void main() {
  vec2 at = (gl_PointCoord - 0.5) * point;
  float cover = clamp(radius + 0.5 - length(at), 0.0, 1.0);
  if (cross > 0.5) {
    float a = abs(at.x + at.y) * 0.7071, b = abs(at.x - at.y) * 0.7071;
    cover = clamp(radius * 1.3 + 0.5 - max(a, b), 0.0, 1.0) * clamp(max(radius * 0.34, 0.6) + 0.5 - min(a, b), 0.0, 1.0);
  }
  if (cover < 0.02) discard;
  result = vec4(mix(colour, grey, greyed), 1.0) * cover * alpha;
}
