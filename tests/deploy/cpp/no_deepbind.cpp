// Loaded before a program under AddressSanitizer, which refuses libraries that are opened with
// RTLD_DEEPBIND, as oneTBB opens one of its own.
#include <dlfcn.h>

extern "C" void* dlopen(const char* name, int flags) {
  using Open = void* (*)(const char*, int);
  static const auto next = reinterpret_cast<Open>(dlsym(RTLD_NEXT, "dlopen"));
  return next(name, flags & ~RTLD_DEEPBIND);
}
