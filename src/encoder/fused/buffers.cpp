// Keeps the large buffers of tensors for the next tensors of their size.
//
// Each layer's map is a new tensor, of many megabytes. malloc takes them from the system one by one
// and gives them back, and the system fills each with zeros, a page at a time: a tenth of the time
// that VGG-16 takes. How much is kept is bounded.

#include <c10/core/Allocator.h>
#include <c10/core/CPUAllocator.h>
#include <c10/core/impl/alloc_cpu.h>

#include <list>
#include <mutex>
#include <unordered_map>
#include <utility>

namespace {

class Keeping final : public c10::Allocator {
  public:
    explicit Keeping(size_t room) : room(room) {}

    at::DataPtr allocate(size_t bytes) override {
        void *buffer = bytes < LARGE ? c10::alloc_cpu(bytes) : take(bytes);
        return {buffer, buffer, &give_back, at::Device(at::DeviceType::CPU)};
    }

    at::DeleterFnPtr raw_deleter() const override {
        return &give_back;
    }

    void copy_data(void *to, const void *from, size_t bytes) const override {
        default_copy_data(to, from, bytes);
    }

    static Keeping *installed;

  private:
    // Smaller ones malloc does not take from the system one by one.
    static constexpr size_t LARGE = 1 << 20;

    void *take(size_t bytes) {
        std::lock_guard<std::mutex> guard(mutex);
        // The smallest that is large enough, and of those the one used last. The last batch has fewer
        // pictures than the others and needs no buffers of its own; those that are much larger are
        // kept for whoever needs them.
        auto best = kept.end();
        for (auto found = kept.begin(); found != kept.end(); ++found) {
            size_t size = found->first;
            if (bytes <= size && size / 4 <= bytes && (best == kept.end() || size < best->first)) {
                best = found;
            }
        }
        if (best != kept.end()) {
            auto [size, buffer] = *best;
            kept.erase(best);
            kept_bytes -= size;
            in_use.emplace(buffer, size);
            return buffer;
        }
        void *buffer = c10::alloc_cpu(bytes);
        in_use.emplace(buffer, bytes);
        return buffer;
    }

    // Also of what was allocated before this was installed.
    static void give_back(void *buffer) {
        if (buffer == nullptr) {
            return;
        }
        Keeping &self = *installed;
        std::lock_guard<std::mutex> guard(self.mutex);
        auto found = self.in_use.find(buffer);
        if (found == self.in_use.end()) {
            c10::free_cpu(buffer);
            return;
        }
        size_t size = found->second;
        self.in_use.erase(found);
        if (size > self.room) {
            c10::free_cpu(buffer);
            return;
        }
        self.kept.emplace_front(size, buffer);
        self.kept_bytes += size;
        // Those that nobody has wanted for longest: weights in a form that is no longer needed.
        while (self.kept_bytes > self.room) {
            auto [oldest_size, oldest] = self.kept.back();
            self.kept.pop_back();
            self.kept_bytes -= oldest_size;
            c10::free_cpu(oldest);
        }
    }

    const size_t room;
    std::mutex mutex;
    // Sizes and buffers, what was given back last in front. They are few.
    std::list<std::pair<size_t, void *>> kept;
    size_t kept_bytes = 0;
    std::unordered_map<void *, size_t> in_use;
};

Keeping *Keeping::installed = nullptr;

} // namespace

extern "C" {

// From now on at most `room` bytes of buffers are kept. Only the first call counts.
void showtell_keep_buffers(size_t room) {
    static std::once_flag once;
    std::call_once(once, [room] {
        Keeping::installed = new Keeping(room);
        c10::SetCPUAllocator(Keeping::installed);
    });
}

} // extern "C"
