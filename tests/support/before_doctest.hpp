// SPDX-License-Identifier: MIT
#pragma once
// Put before every test source. libtorch's logging has a CHECK of its own that aborts; included after doctest
// it would silently take the place of doctest's.
#ifdef KVVIZ_TORCH
#include <c10/util/Logging.h>
#endif
