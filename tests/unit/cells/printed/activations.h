// The functions that the printed cells call, from libm: of single numbers, and of vectors of four.
#pragma once

#include <math.h>

namespace holdfast {
namespace HOLDFAST_LEVEL {

typedef double Four __attribute__((vector_size(32)));
typedef decltype(Four{} < Four{}) FourMasks;

inline double select(bool mask, double a, double b) { return mask ? a : b; }
inline double sigmoid(double x) { return 1 / (1 + ::exp(-x)); }
inline double tanh(double x) { return ::tanh(x); }
inline double exp(double x) { return ::exp(x); }
inline double log(double x) { return ::log(x); }
inline double sqrt(double x) { return ::sqrt(x); }
inline double abs(double x) { return ::fabs(x); }
inline double relu(double x) { return x < 0 ? 0 : x; }
inline double maximum(double a, double b) { return a < b ? b : a; }
inline double minimum(double a, double b) { return b < a ? b : a; }

inline Four select(const FourMasks& mask, const Four& a, const Four& b) {
  Four chosen = {};
  for (int k = 0; k < 4; ++k) chosen[k] = mask[k] ? a[k] : b[k];
  return chosen;
}
inline Four maximum(const Four& a, const Four& b) { return select(a < b, b, a); }
inline Four minimum(const Four& a, const Four& b) { return select(b < a, b, a); }
inline Four each(double (*function)(double), const Four& x) {
  return Four{function(x[0]), function(x[1]), function(x[2]), function(x[3])};
}
inline Four sigmoid(const Four& x) { return each(sigmoid, x); }
inline Four tanh(const Four& x) { return each(tanh, x); }
inline Four exp(const Four& x) { return each(exp, x); }
inline Four log(const Four& x) { return each(log, x); }
inline Four sqrt(const Four& x) { return each(sqrt, x); }
inline Four abs(const Four& x) { return each(abs, x); }
inline Four relu(const Four& x) { return each(relu, x); }

}  // namespace HOLDFAST_LEVEL
}  // namespace holdfast
