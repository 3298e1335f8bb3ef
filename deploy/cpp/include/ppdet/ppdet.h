/* C interface of the library ppdet, for other languages. No C++ exception leaves it: functions
 * return NULL or a negative number after an error, and ppdet_error gives its text. */
#ifndef PPDET_H
#define PPDET_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(_WIN32)
#define PPDET_API __declspec(dllexport)
#else
#define PPDET_API __attribute__((visibility("default")))
#endif

typedef struct ppdet_detector ppdet_detector;

typedef struct {
  const uint8_t* data; /* RGB, three bytes per pixel */
  int32_t height, width;
  size_t stride; /* bytes from one row to the next; 0: 3 * width */
} ppdet_image;

typedef struct {
  int32_t image; /* index into the images of the call */
  int32_t class_id;
  float score, x1, y1, x2, y2; /* corners in pixels of the image */
} ppdet_box;

/* Text of the last error in this thread; an empty text if there was none. */
PPDET_API const char* ppdet_error(void);

/* Opens the folder of an export. engine: "paddle" or "openvino"; threads: 0 for one per core, at
 * most 8. NULL after an error. */
PPDET_API ppdet_detector* ppdet_create(const char* model_dir, const char* engine, int32_t threads,
                                       int32_t batch_size);

/* The same with any options, as JSON or YAML: a mapping with names and values of ppdet_infer's, as
 * {"engine": "openvino", "precision": "fp16", "input_size": [320, 416], "batch_size": 4}. Names:
 * engine, precision, device, run_mode, cpu_threads, batch_size, enable_mkldnn,
 * enable_mkldnn_bfloat16, input_size, trt_cache_dir, trt_min_shape, trt_opt_shape, trt_max_shape,
 * calib_dir. NULL for the defaults. NULL after an error. */
PPDET_API ppdet_detector* ppdet_open(const char* model_dir, const char* options);

/* The boxes of all images, which run as one batch: image after image, the highest score first.
 * Writes at most `capacity` of them and returns how many there are, or -1 after an error; with more
 * boxes than `capacity` call again with room for them. */
PPDET_API int32_t ppdet_run(ppdet_detector* detector, const ppdet_image* images, int32_t count,
                            ppdet_box* boxes, int32_t capacity);

/* Number of classes, and the name of one; NULL for an index that is not there. */
PPDET_API int32_t ppdet_class_count(const ppdet_detector* detector);
PPDET_API const char* ppdet_class_name(const ppdet_detector* detector, int32_t class_id);

/* Frees a detector; NULL is allowed. */
PPDET_API void ppdet_free(ppdet_detector* detector);

#ifdef __cplusplus
}
#endif
#endif
