// weir (BSL-1.0). hazard_protectable: a virtual base, whose place is known to living objects only.
#include <weir/base/hazard_pointer.hpp>

struct right : weir::hazard_pointer_obj_base<right> {};
struct wrong : virtual weir::hazard_pointer_obj_base<wrong> {};

right* protect_right(weir::hazard_pointer& h, std::atomic<right*>& src) { return h.protect(src); }
#ifdef WEIR_MUST_FAIL
wrong* protect_wrong(weir::hazard_pointer& h, std::atomic<wrong*>& src) { return h.protect(src); }
#endif
