// Options of a detector: their check, and their reading from text.
#pragma once

#include <string>

#include "ppdet/detector.hpp"

namespace ppdet {

// The same with the number of threads filled in. Throws Error for values that are not known and
// for options that do not go together.
Options checked(Options options);

// Options from JSON or YAML: a mapping with the names of ppdet_infer's options; an empty text for
// the defaults. Throws Error for keys that are not known and for values of another type.
Options read_options(const std::string& text);

}  // namespace ppdet
