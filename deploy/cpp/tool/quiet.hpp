#pragma once

#include <fcntl.h>
#include <unistd.h>

namespace ppdet::tool {

// Standard error leads nowhere while this lives: libraries write into it what is thrown as well.
class NoStandardError {
 public:
  NoStandardError() : kept_(dup(STDERR_FILENO)) {
    const int nowhere = open("/dev/null", O_WRONLY | O_CLOEXEC);
    if (kept_ >= 0 && nowhere >= 0) dup2(nowhere, STDERR_FILENO);
    if (nowhere >= 0) ::close(nowhere);
  }
  ~NoStandardError() {
    if (kept_ < 0) return;
    dup2(kept_, STDERR_FILENO);
    ::close(kept_);
  }
  NoStandardError(const NoStandardError&) = delete;
  NoStandardError& operator=(const NoStandardError&) = delete;

 private:
  int kept_;
};

}  // namespace ppdet::tool
