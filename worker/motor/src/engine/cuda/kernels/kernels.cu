// Episodes of leaky networks and arms, forward and backward, and what training needs around them.
//
// In reading order: run.h (what a kernel is told), numbers.h, noise.h, the arm (muscles.h, skeleton.h, arm.h),
// units.h, product.h, forward.h, backward.h, learning.h. docs/cuda.md explains the whole.
//
// Kernels are written in phases, loops whose rounds EACH shares out among a block's threads, with a SYNC wherever a
// phase reads what an earlier one wrote. device.h says what these words mean on a card; host.h, on a processor.
//
// Given by the compiler's command line: REAL (float or double) and ROWS, the rows of an episode that a block has.
typedef REAL real;
enum { MUSCLES = 6 };

#ifdef HOST
#include "host.h"
#else
#include "device.h"
#endif
#include "constants.h"
#include "run.h"
#include "numbers.h"
#include "noise.h"
#include "muscles.h"
#include "skeleton.h"
#include "arm.h"
#include "units.h"
#include "product.h"
#include "forward.h"
#include "backward.h"
#include "learning.h"

static_assert(sizeof(Run) == RUN_BYTES, "run.rs and run.h differ");
