// SPDX-License-Identifier: MIT
#pragma once
#include <sys/types.h>

#include <functional>
#include <string_view>

namespace kvviz {

/// Lets `start` make a child process and waits for it to end; returns what waitpid() says of it. A signal
/// that ends this process meanwhile (interrupt.hpp) kills the child. `start` sets the number of the child, or
/// throws. Throws DataError, naming `what`, when the child cannot be waited for.
int status_of_child(const std::function<void(pid_t& child)>& start, std::string_view what);

}  // namespace kvviz
