// Marks a function that nvcc compiles for both sides; a host compiler sees plain C++.
#pragma once

#if defined(__CUDACC__)
#define POLARSEG_HOST_DEVICE __host__ __device__
#else
#define POLARSEG_HOST_DEVICE
#endif
