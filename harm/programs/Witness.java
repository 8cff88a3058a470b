import java.nio.ByteOrder;
import java.nio.MappedByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.channels.Pipe;
import java.nio.ByteBuffer;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.concurrent.locks.LockSupport;
import java.util.zip.CRC32;

/** A Java program that notices what an injection does to it: Witness STATE_FILE. */
public final class Witness {
    private static final int LANES = 5;
    private static MappedByteBuffer state;

    private interface Round { void run(long n) throws Exception; }

    private static void harmed(String what) {
        for (int i = 0; i < what.length() && i < 255; i++) state.put(8 * 66 + i, (byte) what.charAt(i));
        Runtime.getRuntime().halt(1);
    }

    private static void lane(int index, Round round) {
        Thread thread = new Thread(() -> {
            try {
                for (long n = 1; ; n++) {
                    round.run(n);
                    state.putLong(8 * (2 + index), n);
                }
            } catch (Throwable error) {
                harmed(error.toString());
            }
        });
        thread.setDaemon(true);
        thread.start();
    }

    private static int nullFault(Object o) {
        try {
            return o.hashCode(); // a null pointer is found by way of SIGSEGV once this is compiled
        } catch (NullPointerException expected) {
            return 42;
        }
    }

    private static long deep(int n, long seed) {
        long a = seed ^ 1, b = seed ^ 2, c = seed ^ 3, d = seed ^ 4;
        long sum = n == 0 ? 0 : deep(n - 1, seed + 1);
        if ((a ^ b ^ c ^ d) != (1 ^ 2 ^ 3 ^ 4) || a != (seed ^ 1)) harmed("a stack frame");
        return sum + seed;
    }

    public static void main(String[] arguments) throws Exception {
        try (FileChannel file = FileChannel.open(Path.of(arguments[0]), StandardOpenOption.READ, StandardOpenOption.WRITE)) {
            state = file.map(FileChannel.MapMode.READ_WRITE, 0, 4096);
        }
        state.order(ByteOrder.nativeOrder());
        byte[] data = new byte[1 << 16];
        for (int i = 0; i < data.length; i++) data[i] = (byte) (i * 7);
        CRC32 first = new CRC32();
        first.update(data);
        lane(0, n -> {
            CRC32 crc = new CRC32();
            crc.update(data);
            if (crc.getValue() != first.getValue()) harmed("a checksum");
            LockSupport.parkNanos(200_000);
        });
        lane(1, n -> {
            for (int i = 0; i < 1000; i++) if (nullFault(i % 100 == 0 ? null : "x") != (i % 100 == 0 ? 42 : "x".hashCode())) harmed("a null check");
            LockSupport.parkNanos(200_000);
        });
        lane(2, n -> {
            long sum = deep(200, n), expected = 0;
            for (long i = 0; i <= 200; i++) expected += n + i;
            if (sum != expected) harmed("a sum over the stack");
            long begin = System.nanoTime();
            Thread.sleep(1);
            if (System.nanoTime() - begin < 1_000_000) harmed("a sleep was early");
        });
        long[][] heap = new long[512][];
        lane(3, n -> {
            int i = (int) (n % heap.length);
            if (heap[i] != null) for (int j = 0; j < 256; j++) if (heap[i][j] != (heap[i][0] ^ j)) harmed("the heap");
            heap[i] = new long[256];
            for (int j = 0; j < 256; j++) heap[i][j] = n << 8 ^ j;
            LockSupport.parkNanos(100_000);
        });
        Pipe pipe = Pipe.open();
        Thread writer = new Thread(() -> {
            try {
                ByteBuffer b = ByteBuffer.allocate(8);
                for (long n = 1; ; n++) {
                    b.clear();
                    b.putLong(n).flip();
                    pipe.sink().write(b);
                    LockSupport.parkNanos(1_000_000);
                }
            } catch (Throwable error) {
                harmed(error.toString());
            }
        });
        writer.setDaemon(true);
        writer.start();
        ByteBuffer got = ByteBuffer.allocate(8);
        lane(4, n -> {
            got.clear();
            while (got.hasRemaining()) if (pipe.source().read(got) < 0) harmed("the end of a pipe");
            if (got.getLong(0) != n) harmed("what a pipe brought");
        });
        state.putLong(8, LANES);
        while (state.getLong(0) == 0) Thread.sleep(10);
    }
}
